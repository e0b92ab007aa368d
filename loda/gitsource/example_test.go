package gitsource_test

import (
	"context"
	"fmt"
	"io/fs"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/project-loda/loda/loda/gitsource"
)

func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	repository := filepath.Join(dir, "config")
	commitFile(repository, "profiles/r640.yaml", "disk: smallest\n")

	src, err := gitsource.Open(gitsource.Config{
		URL: repository,
		Dir: filepath.Join(dir, "copy"),
		Check: func(_ context.Context, _ gitsource.Commit, tree fs.FS) error {
			if _, err := fs.Stat(tree, "profiles"); err != nil {
				return fmt.Errorf("a config repository has profiles: %w", err)
			}
			return nil
		},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	if _, err := src.Sync(context.Background()); err != nil { // a daemon calls Run instead
		log.Fatal(err)
	}

	commit, err := src.Require()
	if err != nil {
		log.Fatal(err)
	}
	if err := src.Keep([]string{commit.Hash}); err != nil { // an installation was planned with it
		log.Fatal(err)
	}
	tree, err := src.Tree(commit.Hash)
	if err != nil {
		log.Fatal(err)
	}
	profile, err := fs.ReadFile(tree, "profiles/r640.yaml")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, by %s: %s", commit.Message, commit.Author, profile)
	// Output: Change a profile, by Ada: disk: smallest
}

// commitFile makes a repository with one commit.
func commitFile(dir, name, content string) {
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		log.Fatal(err)
	}
	repo, err := git.PlainInit(dir, false)
	if err != nil {
		log.Fatal(err)
	}
	work, err := repo.Worktree()
	if err != nil {
		log.Fatal(err)
	}
	if _, err := work.Add(name); err != nil {
		log.Fatal(err)
	}
	_, err = work.Commit("Change a profile", &git.CommitOptions{
		Author: &object.Signature{Name: "Ada", Email: "ada@example.com", When: time.Now()},
	})
	if err != nil {
		log.Fatal(err)
	}
}
