// Package gitsource keeps a copy of a git repository, and says which commit of it is in use.
//
// A [Source] follows a branch, a tag or a commit of one remote repository. It fetches over https, ssh or from a local
// path, checks each new commit, and puts it into use if nothing is wrong with it. Otherwise the last good commit stays,
// and the [Status] says which was refused and why. Without the network, everything goes on with what is there.
//
//	src, err := gitsource.Open(gitsource.Config{
//		URL:  "https://git.example.com/hardware/config.git",
//		Ref:  gitsource.Ref{Branch: "main"},
//		Dir:  "/var/lib/loda/config",
//		Auth: gitsource.Auth{TokenFile: "/etc/loda/git-token"},
//		Check: func(ctx context.Context, c gitsource.Commit, tree fs.FS) error {
//			_, err := profiles.Load(tree)
//			return err
//		},
//	})
//	...
//	defer src.Close()
//	go src.Run(ctx)                                 // polls
//	http.Handle("/hooks/git", src.Webhook(secret)) // and is told of pushes
//
//	commit, err := src.Require()        // which one is in use?
//	tree, err := src.Tree(commit.Hash)  // its files
//	err = src.Keep(planned)             // these stay, whatever happens to the branch
//
// # What is fetched
//
// Only the files of the newest commit, without history, and of them only those that changed: the server is told which
// commits are here. The default branch is followed unless [Ref] says otherwise. A branch that moves backwards, or to an
// unrelated history by a force push, is followed like any other: what counts is the commit that it names. A tag may be
// annotated or not, and is followed if it moves.
//
// # Addresses
//
//   - https://host/path, with a token file and, if the server's certificate is from an authority of one's own, a CA
//     file. Redirects are followed within the same server only.
//   - ssh://user@host:port/path or user@host:path, with a key file and a known_hosts file. A host that is not in it, or
//     shows another key, is refused with what to do. Neither ~/.ssh nor an agent is looked at.
//   - file:///path or /path, a repository on this host, bare or not. It needs no git program.
//   - http://127.0.0.1/path and other loopback addresses, for a proxy on the same host. Elsewhere http is refused.
//
// A URL that holds a password or token is refused. Secrets are read from their files at each fetch; a file that
// everybody on the host can read is refused.
//
// # What is checked
//
// [Inspect] comes first: submodules, Git LFS pointers, symbolic links that leave the repository or lead nowhere, and
// what is beyond the [Limits] make a commit unusable. `Config.Check` comes second. A refused commit is looked at once;
// the next one is tried. After a restart it is looked at once more, for the program may be another.
//
// Sizes are checked before content is inflated, so neither a file of two gigabytes nor a pack that is made to explode
// fills the disk or the memory. Such a commit counts as refused.
//
// # The copy
//
// Config.Dir holds `repo.git`, a bare repository that git itself can read: its branch is the commit in use, and
// references under refs/loda are the refused one, those pinned by [Source.Keep], and recent ones. Beside it lie
// `state.json` (times), `lock` (one process at a time), and `damaged` after a repair.
//
// Objects are on the disk before a reference names them, so a process that is killed, or a power cut, leaves either the
// old or the new state. [Open] reads everything that is kept; each read of a file is checked against its digest. A copy
// that is damaged is set aside, and what is whole in it is taken over. Pinned commits that were lost so are in
// [Status].Lost and are asked for by their number, which most servers answer.
//
// What nobody needs any more goes [Config.Grace] after it was replaced or unpinned. Nobody has to run `git gc` there,
// and nobody should: packs that it makes are not read.
//
// # When the server is away
//
// Only [Source.Sync] and [Source.Run] touch the network. A fetch has a deadline; failures are logged when they begin,
// change and end, and are in the [Status] with the time since when. [Source.Current], [Source.Tree] and [Source.Keep]
// never wait for a fetch. A Source that has never fetched says so: [Source.Require] returns [ErrNoCommit] with the
// reason.
//
// # Where go-git falls short
//
// go-git speaks version 0 of git's protocol. So the server's whole list of references comes with each poll (about 60
// bytes for each branch and tag), and a commit that no branch or tag names can be had only from a server that allows it
// (GitHub, GitLab and Gitea do; plain git does with uploadpack.allowReachableSHA1InWant). From others, a pinned commit
// is looked for in the whole history. Repositories with SHA-256 digests, and reftable or partial repositories as local
// paths, are not supported. Its transports and its storage are not used, see protocol.go and store.go.
package gitsource
