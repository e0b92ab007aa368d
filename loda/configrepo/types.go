package configrepo

import (
	"maps"
	"slices"
	"strings"
)

// A kind of value, as the checker tells them apart.
type kind int

const (
	// wrong is what a mistake, which was reported, yields. It fits everywhere, so that nothing is said of it twice.
	wrong kind = iota
	text
	integer
	boolean
	bytesize
	list   // of texts
	labels // texts by name
	record
	late
	nothing
)

// vtype is the type of a value in a template.
type vtype struct {
	kind kind
	// fields of a record.
	fields map[string]*vtype
	// what a record is, and late values are.
	name string
	key  string
}

var (
	tWrong    = &vtype{kind: wrong}
	tText     = &vtype{kind: text}
	tInt      = &vtype{kind: integer}
	tBool     = &vtype{kind: boolean}
	tSize     = &vtype{kind: bytesize}
	tList     = &vtype{kind: list}
	tLabels   = &vtype{kind: labels, name: "machine.labels"}
	tNothing  = &vtype{kind: nothing}
	kindNames = map[kind]string{text: "a text", integer: "a number", boolean: "true or false", bytesize: "a size",
		list:   "a list",
		labels: "labels", record: "a group of values", late: "a value that is filled in later", nothing: "nothing"}
)

func (t *vtype) String() string {
	if t.kind == record && t.name != "" {
		return "the group " + t.name
	}
	return kindNames[t.kind]
}

// id tells types apart for the checker's memory.
func (t *vtype) id() string {
	if t.kind != record {
		return kindNames[t.kind] + "/" + t.name
	}
	if t.key == "" {
		var b strings.Builder
		b.WriteString(t.name + "{")
		for _, f := range slices.Sorted(maps.Keys(t.fields)) {
			b.WriteString(f + ":" + t.fields[f].id() + ",")
		}
		t.key = b.String() + "}"
	}
	return t.key
}

func newRecord(name string, fields map[string]*vtype) *vtype {
	t := &vtype{kind: record, name: name, fields: fields}
	t.id()
	return t
}

func lateType(name string) *vtype { return &vtype{kind: late, name: name} }

// roots are the types of what templates are given: with and without the values of the boot to come.
func roots(variables map[string]*Variable) (plain, installer *vtype) {
	vars := map[string]*vtype{}
	for name, v := range variables {
		switch v.Type {
		case "int":
			vars[name] = tInt
		case "bool":
			vars[name] = tBool
		case "list":
			vars[name] = tList
		case "size":
			vars[name] = tSize
		case "secret":
			vars[name] = lateType("secret:" + name)
		default:
			vars[name] = tText
		}
	}
	texts := func(group string, names ...string) *vtype {
		fields := map[string]*vtype{}
		for _, n := range names {
			fields[n] = tText
		}
		return &vtype{kind: record, name: group, fields: fields}
	}
	machine := texts("machine", "serial", "name", "hostname", "address", "rack", "vendor", "product", "uuid")
	machine.fields["macs"], machine.fields["labels"] = tList, tLabels
	disk := texts("disk", "serial", "wwn", "path", "by_path")
	disk.fields["bytes"] = tInt
	profile := texts("profile", "name")
	profile.fields["ssh_keys"] = tList
	fields := map[string]*vtype{"vars": newRecord("vars", vars), "machine": machine, "disk": disk, "profile": profile,
		"site": texts("site", "name"), "os": texts("os", "name")}
	plain = newRecord("", fields)
	fields = maps.Clone(fields)
	boot := map[string]*vtype{}
	for name, l := range bootValues {
		boot[name] = lateType(string(l))
	}
	fields["boot"] = newRecord("boot", boot)
	return plain, newRecord("", fields)
}
