package raidtest

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Captures is the directory with outputs of real tools, which are no part of the repository: the one that
// LODA_RAID_CAPTURES names, or shared/raid-captures beside the checkout. Without them the test is skipped with the reason.
// Where they were named and are not there, it fails if LODA_TEST_REQUIRE is all.
func Captures(t testing.TB) string {
	t.Helper()
	dir, told := os.LookupEnv("LODA_RAID_CAPTURES")
	if !told {
		dir = filepath.Join(filepath.Dir(checkout(t)), "shared", "raid-captures")
	}
	if _, err := os.Stat(filepath.Join(dir, "MANIFEST.tsv")); err != nil {
		if told && os.Getenv("LODA_TEST_REQUIRE") == "all" {
			t.Fatalf("LODA_RAID_CAPTURES names no captures: %v", err)
		}
		t.Skipf("no captures of real tools here: %v (LODA_RAID_CAPTURES says where they are)", err)
	}
	return dir
}

// Capture is one of them.
func Capture(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(Captures(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// NoneLeftOut fails a test that compares less than all captures of some directories, such as ssacli. compared are their
// names, with the directory.
func NoneLeftOut(t testing.TB, compared []string, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		entries, err := os.ReadDir(filepath.Join(Captures(t), dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if name := filepath.Join(dir, e.Name()); !slices.Contains(compared, name) {
				t.Errorf("%s is compared with nothing", name)
			}
		}
	}
}

// checkout is the directory with go.mod, above the package that is tested.
func checkout(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("this is no checkout: there is no go.mod above")
		}
		dir = up
	}
}
