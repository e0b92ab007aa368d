// Package configrepo reads a repository of profiles: what decides what becomes of a machine, as text that a team
// reviews. It loads and checks a whole repository, finds the one profile of a machine, and renders what that machine
// gets:
//
//	repo, errs := configrepo.Load(os.DirFS("config"))
//	for _, e := range errs {
//		fmt.Println(e) // templates/preseed.cfg.tmpl:12:31: variable ntpp is not declared; did you mean ntp?
//	}
//	profile, err := repo.Render(configrepo.Subject{Site: "fra", Machine: machine, Facts: facts})
//
// The README of examples/config-repo documents the format. In short: profiles/ says which hardware a profile is for,
// what it must look like, which steps run on it and which operating system of os/ it gets; vars/ declares variables,
// which get their values from sites/, the profile and the machine's labels, the last one winning; templates/ holds
// answer files and the snippets that they share; scripts/ what the steps run; models/ what machines must look like.
//
// # Checked before it is used
//
// Load reports everything that is wrong in all files in one run, each with file, line, column and what was expected.
// Templates are checked without running them: the type of every value in them is known, so an undefined variable, a
// field that does not exist and a list where a text is wanted are found in branches that no machine takes today. Two
// profiles that could match one machine are an error; there is no order that would make one of them win.
//
// # Hermetic
//
// A rendering depends on the repository and the [Subject] and on nothing else: templates cannot read the environment,
// files, the network or the clock, their output and their work are bounded, and the same inputs give the same bytes.
// Secrets have no value in git. They, and what only the boot to come will know, are rendered as the placeholders of
// [loda.Late], which no function of a template takes for a text. Neither hardware nor labels can smuggle one in.
package configrepo
