// Package loda is the heart of Loda: it knows what every machine of a site should be doing, and what it may do.
//
// An [Installer] owns the installations of a site. Operators open them ([Installer.Install]); machines drive them by
// what they do: a boot script is asked for ([Installer.Boot]), an agent opens a session ([Installer.OpenSession]),
// asks for work ([Installer.NextAction]) and reports ([Installer.FinishAction]), the installed system's first boot
// calls back ([Installer.FirstBoot]). Everything is remembered in an [inventory.Store] before it is answered, so a
// process that is killed at any moment goes on where it stood.
//
// Package loda does no networking. loda/apiserver puts it behind HTTP, loda/site adds DHCP, TFTP and the boot server,
// and the program lodad is a site with a configuration file.
package loda
