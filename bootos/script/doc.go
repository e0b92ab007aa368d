// Package script runs the scripts of a profile on the machine that is being installed, and turns what they print into
// lines for its timeline.
//
//	result, err := new(script.Runner).Run(ctx, agentapi.RunScript{Name: "firmware", Script: text,
//		Interpreter: []string{"/bin/sh", "-e"}, TimeoutSeconds: 600}, report)
//
// # What a script finds
//
// Its working directory is empty and its own; HOME is /root, TMPDIR the working directory, PATH that of bootOS
// ([DefaultPath]). LODA_SERIAL, LODA_INSTALLATION and LODA_STEP say where it runs. The step's own variables come on
// top, nothing else is inherited. Standard input is empty; there is no terminal.
//
// A script may be run again from its beginning, after a power cut for instance, so it has to bear that.
//
// # How it ends
//
// A script is a session and a process group of its own. When its time is over, or the server does not want it any more,
// the group gets SIGTERM, and SIGKILL five seconds later. The same happens to what is left of the group when the script
// itself has ended: no step leaves something running behind the next one's back. What makes a session of its own, as a
// daemon does, is left alone, and lives until bootOS is left.
//
// What the script left mounted below its working directory is unmounted before that is removed.
//
// # What it prints
//
// Standard output and standard error are one stream of lines, sent while the script runs. Escape sequences, control
// characters and what is not UTF-8 are taken out; a carriage return begins the line anew, as on a terminal, so that a
// progress bar is one line. Long lines are split. Of a long output the first thousand lines and the last five hundred
// are kept, and what was left out is counted; the script is never held up by that.
//
// Secrets are replaced by `***` wherever they stand exactly, however the output was cut into pieces: a secret of
// several lines is hidden line by line. One that the script encodes (base64, quotes, a different case) is not
// recognised.
package script
