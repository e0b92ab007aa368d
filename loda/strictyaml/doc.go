// Package strictyaml reads YAML that people write and machines depend on. It reports everything that is wrong with a
// file in one run, each with line, column and what was expected, and guesses nothing:
//
//	var p struct {
//		Disk    hw.DiskRule   `yaml:"disk"`
//		Timeout time.Duration `yaml:"timeout"`
//	}
//	for _, e := range strictyaml.Decode("profiles/db.yaml", text, &p) {
//		fmt.Println(e) // profiles/db.yaml:3:3: disk.min_sise: unknown key; did you mean min_size?
//	}
//
// # What a type can do
//
// Fields are named by their `yaml` tag, else by their `json` tag, else by their name in lower case; `yaml:",inline"` or
// an embedded struct without a tag lends its fields to the struct around it. A type with UnmarshalText reads scalars by
// it, whatever they look like: `version: 2.10` arrives as "2.10". If it is a struct with fields of its own it can also
// be written as a mapping, and if it is a slice as a list: the short form and the long form. A type with a method
// Validate() error is asked after it was decoded. Each error of an [errors.Join] becomes a report of its own, and one
// that starts with the path of a field, as in `volumes[0].level: unknown`, is reported at that field. Where something
// below could not be decoded at all, Validate is not asked: it would only complain about what is missing because of it.
//
// # What it refuses
//
// Unknown and duplicate keys, keys without a value, numbers and booleans where a text is wanted (quotes make a text of
// them), numbers that are not plain decimals (012, 0x10 and 1_000 mean different things to different parsers), tags,
// anchors, aliases, merge keys, several documents in a file, texts that are not UTF-8, byte order marks, carriage
// returns, files over [MaxSize] or [MaxLines], nesting over [MaxDepth]. Aliases are refused for a reason: a kilobyte
// of them can stand for gigabytes, and a reviewer does not see what they stand for.
package strictyaml
