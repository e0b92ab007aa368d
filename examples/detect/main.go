// Command detect prints what this machine is made of: the facts of package hw as JSON, nothing else of Loda.
//
//	go run ./examples/detect                  # this machine; root sees serial numbers and DIMMs
//	go run ./examples/detect -root captured   # a captured tree: captured/sys, captured/proc
//	go run ./examples/detect -text            # a summary for people
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/project-loda/loda/hw"
)

func main() {
	root := flag.String("root", "/", "read a captured `tree` instead of this machine")
	text := flag.Bool("text", false, "print a summary for people instead of JSON")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := detect(ctx, os.Stdout, *root, *text); err != nil {
		fmt.Fprintln(os.Stderr, "detect:", err)
		os.Exit(1)
	}
}

func detect(ctx context.Context, w io.Writer, root string, text bool) error {
	facts, err := hw.Detect(ctx, hw.WithRoot(root))
	if err != nil {
		return err
	}
	if text {
		return facts.WriteText(w)
	}
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(facts)
}
