// Package image is the image files on the server's side: a directory of them, imports from other formats, and images
// that Loda builds itself.
//
// An image is two files: NAME.json describes it, and NAME-DIGEST.img.zst (or whatever file the description names) is it.
//
//	dir, err := image.Open("/var/lib/loda/images")
//	img, err := dir.Get("debian-12")   // size checked against the description; Verify reads all of it
//
// [BuildDebian] makes an image from Debian packages, [BuildTiny] a test system that boots in seconds and reports back
// as a real one does, [Import] converts qcow2, vmdk, vhdx and raw files. [Seed] makes the cloud-init NoCloud files
// that are written beside the image, including the script that reports the first boot.
package image
