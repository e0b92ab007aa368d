package configrepo

import (
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
)

func pattern(t testing.TB, text string) Pattern {
	t.Helper()
	var p Pattern
	require.NoError(t, p.UnmarshalText([]byte(text)))
	return p
}

func TestPatternsMatchLikeGlobsWithoutRegardToCase(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"Dell Inc.", "DELL Inc. ", true}, {"Dell", "Dell Inc.", false}, {"Dell*", "Dell Inc.", true}, {"*", "", false},
		{"*", "x", true},
		{"R?40", "R740", true}, {"R?40", "R40", false}, {"*a*b*", "xxaxbx", true}, {"*a*b", "xbxa", false}, {"[x]", "[X]",
			true},
		{"[x]", "x", false}, {`a\*`, "a*", true}, {`a\*`, "ab", false}, {"a/*", "a/b/c", true}, {"ü*", "ÜX", true}, {"**a",
			"a", true},
	} {
		require.Equal(t, c.want, pattern(t, c.pattern).Match(c.text), "%s on %q", c.pattern, c.text)
	}
}

// The alphabet is small, so that random patterns and texts meet often. path.Match is the judge of plain matching, and all
// short texts are the judges of intersection and coverage.
func TestIntersectionAndCoverageAgreeWithTheTextsThatMatch(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var texts []string
	for n := 1; n <= 6; n++ {
		for i := range 1 << n {
			var b strings.Builder
			for bit := range n {
				b.WriteByte("ab"[i>>bit&1])
			}
			texts = append(texts, b.String())
		}
	}
	random := func() string {
		var b strings.Builder
		for range 1 + rnd.IntN(4) {
			b.WriteByte("ab*?"[rnd.IntN(4)])
		}
		return b.String()
	}
	covered := 0
	for range 1500 {
		p, q := pattern(t, random()), pattern(t, random())
		common, all := false, true
		for _, text := range texts {
			want, err := path.Match(p.String(), text)
			require.NoError(t, err)
			require.Equal(t, want, p.Match(text), "%s on %s", p, text)
			common = common || want && q.Match(text)
			all = all && (want || !q.Match(text))
		}
		require.Equal(t, common, p.intersects(q), "%s and %s", p, q)
		require.Equal(t, common, q.intersects(p), "%s and %s", q, p)
		if p.covers(q) {
			covered++
			require.True(t, all, "%s covers %s", p, q)
		}
	}
	require.Greater(t, covered, 100)
}

func TestTwoProfilesThatCannotMeetAreNoMistake(t *testing.T) {
	const web, product = "{vendor: Dell Inc., product: R640}", "{vendor: Dell Inc., product: R740}"
	for name, c := range map[string]struct {
		a, b string
		want bool // whether a machine could be matched by both
	}{
		"other product":                {web, product, false},
		"the same":                     {web, "{vendor: dell inc., product: r640}", true},
		"a glob over it":               {web, "{vendor: Dell*}", true},
		"globs apart":                  {"{product: R6*}", "{product: R7*}", false},
		"globs that meet":              {"{product: 'R6*'}", "{product: '*40'}", true},
		"other sites":                  {"{vendor: x, site: fra}", "{vendor: x, site: ber}", false},
		"other racks":                  {"{vendor: x, rack: A*}", "{vendor: x, rack: B*}", false},
		"different fields":             {"{vendor: x}", "{rack: B1}", true},
		"labels apart":                 {"{vendor: x, labels: {os: a}}", "{vendor: x, labels: {os: [b, c]}}", false},
		"a label that the other lacks": {"{vendor: x}", "{vendor: x, labels: {os: a}}", true},
		"excepted by a label": {"{vendor: x, except: [{labels: {os: a}}]}", "{vendor: x, labels: {os: a}}",
			false},
		"excepted, with more than needed": {"{vendor: x, except: [{vendor: x, labels: {os: 'a*'}}]}",
			"{vendor: x, labels: {os: [a1, a2]}}", false},
		"excepted in part": {"{vendor: x, except: [{labels: {os: a}}]}",
			"{vendor: x, labels: {os: [a, b]}}", true},
		"excepted on something else":        {"{vendor: x, except: [{rack: B1}]}", "{vendor: x, labels: {os: a}}", true},
		"an alternative is excepted":        {"{product: [R640, R740], except: [{product: R640}]}", "{product: R640}", false},
		"one without match is only by name": {"{vendor: x}", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			profile := func(match string) string {
				if match == "" {
					return "os: debian\n"
				}
				return "match: " + match + "\nos: debian\n"
			}
			_, errs := Load(with(small, "-- profiles/web.yaml --\n"+profile(c.a)+"-- profiles/other.yaml --\n"+profile(c.b)))
			if !c.want {
				require.Empty(t, errs)
				return
			}
			require.Len(t, errs, 2, "one for each of both files")
			for _, e := range errs {
				require.Contains(t, e.Message, "a machine can be matched by")
			}
		})
	}
}

func TestTheProfileOfAMachineIsFound(t *testing.T) {
	repo := load(t, with(small, `
-- profiles/other.yaml --
match:
  vendor: Dell Inc.
  product: PowerEdge R7*
  sku: "*ModelName=PowerEdge R740"
  board: 06*
  serial: ABC*
  name: db*
  rack: [R1, R2]
  site: fra
  labels: {role: db}
  except: [{labels: {state: broken}}]
os: debian
-- profiles/byname.yaml --
os: debian
`))
	machine := &inventory.Machine{Serial: "ABC2", Name: "db1", Rack: "r2", Labels: map[string]string{"role": "db"}}
	facts := &hw.Facts{System: hw.System{Vendor: "Dell Inc.", Product: "PowerEdge R740",
		SKU: "SKU=1;ModelName=PowerEdge R740"}, Board: hw.Board{Product: "06WXJT"}}
	s := Subject{Site: "fra", Machine: machine, Facts: facts}
	p, err := repo.Match(s)
	require.NoError(t, err)
	require.Equal(t, "other", p.Name)

	// Facts win over what the inventory remembers; without facts that decides.
	machine.Vendor, machine.Product = "Dell Inc.", "PowerEdge R640"
	p, err = repo.Match(s)
	require.NoError(t, err)
	require.Equal(t, "other", p.Name)
	p, err = repo.Match(Subject{Site: "fra", Machine: machine})
	require.NoError(t, err)
	require.Equal(t, "web", p.Name)

	// The inventory's copy of the facts is read, if no others are given.
	machine.Facts = []byte(`{"version":1,"system":{"vendor":"Dell Inc.","product":"PowerEdge R650"}}`)
	machine.Product = ""
	p, err = repo.Match(Subject{Site: "fra", Machine: machine})
	require.NoError(t, err)
	require.Equal(t, "web", p.Name)
	machine.Facts = []byte(`{"version":99}`)
	_, err = repo.Match(Subject{Site: "fra", Machine: machine})
	require.ErrorContains(t, err, "machine ABC2: decode hardware facts: version 99")
	machine.Facts = nil

	// Facts alone are enough.
	p, err = repo.Match(Subject{Site: "fra", Facts: &hw.Facts{System: hw.System{Vendor: "Dell Inc.",
		Product: "PowerEdge R640"}}})
	require.NoError(t, err)
	require.Equal(t, "web", p.Name)

	machine.Labels["state"] = "broken"
	machine.Rack = ""
	_, err = repo.Match(s)
	var none *NoMatchError
	require.ErrorAs(t, err, &none)
	require.Equal(t, []NearProfile{
		{"web", "profiles/web.yaml", []string{"product: want PowerEdge R6*, got PowerEdge R740"}},
		{"other", "profiles/other.yaml", []string{"rack: want R1 or R2, got nothing, it is not known",
			"except[0]: labels.state is broken"}},
	}, none.Near)
	require.EqualError(t, err,
		"no profile is for machine ABC2 (Dell Inc. PowerEdge R740) at site fra; not web: product: want PowerEdge R6*, got "+
			"PowerEdge R740; not other: rack: want R1 or R2, got nothing, it is not known, except[0]: labels.state is broken")

	_, err = repo.Match(Subject{Machine: &inventory.Machine{Serial: "X"}})
	require.EqualError(t, err,
		"no profile is for machine X (vendor not known, product not known); none is near: write one that matches this hardware")

	// By name: the conditions must hold all the same, and one without conditions is for any machine.
	s.Profile = "byname"
	p, err = repo.Match(s)
	require.NoError(t, err)
	require.Equal(t, "byname", p.Name)
	s.Profile = "web"
	_, err = repo.Match(s)
	require.EqualError(t, err, "profile web is not for machine ABC2: product: want PowerEdge R6*, got PowerEdge R740")
	require.ErrorAs(t, err, &none)
	s.Profile = "nothing"
	_, err = repo.Match(s)
	require.ErrorIs(t, err, loda.ErrNoProfile)
	require.EqualError(t, err, "no such profile: nothing; the repository has byname, other, web")
}

// Load refuses such a repository; whoever builds a Repo in another way gets no guess either.
func TestAnAmbiguousMachineGetsNoProfile(t *testing.T) {
	repo := load(t, with(small, "-- profiles/other.yaml --\nmatch: {vendor: Dell Inc., product: R740}\nos: debian\n"))
	repo.profiles["other"].criteria.conditions = repo.profiles["web"].criteria.conditions
	_, err := repo.Match(Subject{Site: "fra", Machine: dell()})
	var several *AmbiguousError
	require.ErrorAs(t, err, &several)
	require.Len(t, several.Profiles, 2)
	require.EqualError(t, err,
		"machine ABC1 is matched by profiles/other.yaml and profiles/web.yaml; want exactly one: make their conditions "+
			"exclude each other, or ask for one by name")
}
