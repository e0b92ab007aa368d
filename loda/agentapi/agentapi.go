// Package agentapi is the protocol between the agent in the bootOS and a lodad: types, paths and the agent's client.
// It has few dependencies, since it ends in the RAM disk.
//
// The agent pulls. It exchanges the one-time boot token from its kernel command line for a session, then holds a long
// poll, gets one action at a time, reports progress, log lines and the result, and asks again. An action has an ID
// that never changes its meaning; reporting a result twice is the same as reporting it once. An agent that starts
// anew (power cut) gets the action that had no result yet once more, so every action must be safe to repeat.
//
// All of it is JSON over HTTPS; the server's certificate is checked against the CA that was built into the bootOS and
// nothing else.
package agentapi

import (
	"encoding/json"
	"time"

	"github.com/project-loda/loda/raid"
)

// Kernel command line arguments through which the boot script tells the agent where to go.
const (
	// ArgServer is a comma-separated list of base URLs, tried in turn, such as https://10.77.0.1:8443.
	ArgServer = "loda.server"
	// ArgToken is the one-time boot token. It is worthless after the first exchange.
	ArgToken = "loda.token"
)

// Paths below the server's base URL.
const (
	PathSession  = "/agent/v1/session"
	PathAction   = "/agent/v1/action"
	PathProgress = "/agent/v1/actions/{id}/progress"
	PathResult   = "/agent/v1/actions/{id}/result"
	PathLog      = "/agent/v1/log"
	// PathFile is a file that the site has for this machine, see [Download].
	PathFile = "/agent/v1/files/{sha256}"
	// PathInstalled is called once by the installed system's first boot, with the secret of the seed.
	PathInstalled = "/agent/v1/installed"
)

// MaxWait bounds the long poll.
const MaxWait = 50 * time.Second

// QueryWait is the query parameter of [PathAction] with the seconds to wait for work; 204 means that there is none.
const QueryWait = "wait"

// QueryTold is the query parameter of [PathAction] with the ID of the [ActionWait] that the agent is showing. It keeps
// the server from answering the same at once.
const QueryTold = "told"

// SeedBytes is the room that the seed's partition takes on the disk, in addition to the image.
const SeedBytes = 32 << 20

// SessionRequest exchanges a boot token. The identity is what the agent itself read from the firmware; the server
// refuses a token that was made for another machine.
type SessionRequest struct {
	Token string `json:"token"`
	// Nonce is a secret that the agent makes up once in a boot. A token is good for one nonce: an agent whose answer was
	// lost may repeat its request, nobody else can.
	Nonce  string   `json:"nonce"`
	Serial string   `json:"serial"`
	UUID   string   `json:"uuid,omitempty"`
	MACs   []string `json:"macs"`
	// Version is the version of the agent.
	Version string `json:"version"`
	// Uptime is the kernel's uptime in seconds when the agent was ready to ask.
	Uptime float64 `json:"uptime"`
}

// Session lets the agent speak for one machine and installation until it ends or a new boot replaces it.
type Session struct {
	// Secret goes into the Authorization header as a bearer token.
	Secret       string `json:"secret"`
	Installation string `json:"installation"`
	Serial       string `json:"serial"`
	Name         string `json:"name"`
	Attempt      int    `json:"attempt"`
}

// Action is one thing to do. Exactly the field that Kind names is set.
type Action struct {
	ID   string     `json:"id"`
	Kind ActionKind `json:"kind"`
	// Title is for people: the console and the timeline.
	Title         string         `json:"title"`
	InstallImage  *InstallImage  `json:"install_image,omitempty"`
	RunScript     *RunScript     `json:"run_script,omitempty"`
	ConfigureRAID *ConfigureRAID `json:"configure_raid,omitempty"`
	Boot          *Boot          `json:"boot,omitempty"`
	Wait          *Wait          `json:"wait,omitempty"`
}

// ActionKind names what an action does.
type ActionKind string

const (
	// ActionDetect reads the hardware; the result's Data is a facts document of package hw.
	ActionDetect ActionKind = "detect"
	// ActionInstallImage writes an image to a disk; see [InstallImage]. It destroys what was on that disk.
	ActionInstallImage ActionKind = "install-image"
	// ActionRunScript runs a script of the machine's profile; see [RunScript]. The result's Data is a [RunScriptResult],
	// also when the script failed.
	ActionRunScript ActionKind = "run-script"
	// ActionConfigureRAID reads the RAID controllers, plans, and does the plan that was approved; see [ConfigureRAID]. The
	// result's Data is a [ConfigureRAIDResult].
	ActionConfigureRAID ActionKind = "configure-raid"
	// ActionBoot leaves the bootOS. The agent reports the result first, then goes.
	ActionBoot ActionKind = "boot"
	// ActionWait has no result: there is nothing to do until a person decides. The agent shows the reason on the
	// console and goes on polling.
	ActionWait ActionKind = "wait"
)

// InstallImage is everything that writing an image needs.
type InstallImage struct {
	// Installation and Serial are the proof that this disk may be overwritten: the agent refuses when they are not
	// those of its session and of the firmware.
	Installation string `json:"installation"`
	Serial       string `json:"serial"`
	// URL of the file, plain HTTP with range requests.
	URL string `json:"url"`
	// Format of the file: raw, zst, gz or xz.
	Format string `json:"format"`
	// SHA256 of the file as transferred, hexadecimal. The first sectors of the disk are written last, after this
	// digest was found right.
	SHA256 string `json:"sha256"`
	// Bytes is the size of the file, RawBytes of what it unpacks to.
	Bytes    int64 `json:"bytes"`
	RawBytes int64 `json:"raw_bytes"`
	// Disk is the one disk to write to, by identity.
	Disk DiskIdentity `json:"disk"`
	// Seed is written as a NoCloud data source (a small FAT file system labelled CIDATA in a partition of its own):
	// file name to content. Empty: none.
	Seed map[string]string `json:"seed,omitempty"`
	// BootLabel names the UEFI boot entry.
	BootLabel string `json:"boot_label"`
}

// DiskIdentity is what the plan saw of a disk. Every field that is set must match exactly one present disk.
type DiskIdentity struct {
	Serial string `json:"serial,omitempty"`
	WWN    string `json:"wwn,omitempty"`
	// Path is the persistent device path (bus topology), such as pci-0000:00:04.0.
	Path  string `json:"path,omitempty"`
	Bytes int64  `json:"bytes"`
}

// RunScript is a script of the machine's profile, with its secrets filled in. The agent runs it as root in bootOS and
// sends what it prints to the timeline, line by line. It may have run before: a power cut, or an agent that starts
// anew, runs it from its beginning once more.
type RunScript struct {
	// Installation and Serial are the proof that this machine is meant, as in [InstallImage].
	Installation string `json:"installation"`
	Serial       string `json:"serial"`
	// Name is the step's, and File where the script came from. Both are for people.
	Name string `json:"name"`
	File string `json:"file,omitempty"`
	// Script is the text that is run, at most [MaxScript] bytes.
	Script string `json:"script"`
	// Interpreter is a program and its arguments, such as `/bin/sh -e`. It gets the script's path as its last argument.
	Interpreter []string `json:"interpreter"`
	// TimeoutSeconds is how long the script may take. Then it is ended, with the rest of its process group.
	TimeoutSeconds int `json:"timeout_seconds"`
	// Env is added to the few variables that every script has. Names that begin with LODA_ are refused.
	Env map[string]string `json:"env,omitempty"`
	// ExitCodes are those of success. Empty: 0.
	ExitCodes []int `json:"exit_codes,omitempty"`
	// Secrets are texts that must not appear in the timeline, nor on the console. In what the script prints, each is
	// replaced by `***`. One of less than [MinSecret] bytes is not: that would hide half of every line.
	Secrets []string `json:"secrets,omitempty"`
}

const (
	// MaxScript bounds the text of a [RunScript].
	MaxScript = 1 << 20
	// MaxScriptSeconds bounds the time that a script may be given.
	MaxScriptSeconds = 24 * 60 * 60
	// MinSecret is the length from which on a secret can be hidden in a script's output.
	MinSecret = 4
)

// RunScriptResult is the Data of an [ActionRunScript], whether it succeeded or not. It is missing where the script was
// not started at all.
type RunScriptResult struct {
	// ExitCode is -1 when a signal ended the script, as after its timeout.
	ExitCode int     `json:"exit_code"`
	Seconds  float64 `json:"seconds"`
	// Lines counts what the script printed, DroppedLines what of it is not in the timeline: the middle of a long output.
	Lines        int `json:"lines"`
	DroppedLines int `json:"dropped_lines"`
}

// ConfigureRAID brings a machine's RAID controllers to a layout, in rounds: the agent reads them and plans, the server
// looks at the plan and approves it, the agent reads and plans again and does the plan if it is the same. What it says
// after that is the plan of the next round, which is empty when all is done.
type ConfigureRAID struct {
	// Installation and Serial are the proof that this machine is meant, as in [InstallImage].
	Installation string `json:"installation"`
	Serial       string `json:"serial"`
	// Layout is what is wanted.
	Layout raid.Layout `json:"layout"`
	// Approval is of the one plan that may be done. Nil: nothing is done.
	Approval *raid.Approval `json:"approval,omitempty"`
	// Tools are the makers' tools that the site has, for the agent to fetch when a controller needs one.
	Tools map[raid.Tool]Download `json:"tools,omitempty"`
	// Drivers are those from outside.
	Drivers []RAIDDriver `json:"drivers,omitempty"`
}

// Download is a program that the agent can fetch with [Client.File].
type Download struct {
	// Name of the file on the machine.
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
	// Files are wanted beside it: digests by name.
	Files map[string]string `json:"files,omitempty"`
}

// RAIDDriver is a RAID driver from outside.
type RAIDDriver struct {
	Name    string   `json:"name"`
	Program Download `json:"program"`
	// For are PCI ids of controllers: vendor:device, or vendor:device:subvendor:subdevice.
	For []string `json:"for"`
}

// ConfigureRAIDResult is the Data of an [ActionConfigureRAID].
type ConfigureRAIDResult struct {
	// Inventories are the controllers as they are at the end of the action.
	Inventories []*raid.Inventory `json:"inventories"`
	// Unmanaged are controllers that could not be read, each with the reason.
	Unmanaged []string `json:"unmanaged,omitempty"`
	// Plan is what is to be done from there; nil if nothing can be planned. Commands are those of its steps.
	Plan     *raid.Plan   `json:"plan,omitempty"`
	Commands [][][]string `json:"commands,omitempty"`
	// Impossible says why the layout cannot be had on this machine.
	Impossible string `json:"impossible,omitempty"`
	// Done counts the steps that were done, and Failed says why the one after them was not.
	Done   int    `json:"done,omitempty"`
	Failed string `json:"failed,omitempty"`
	// Reboot says why the machine has to be restarted before it can go on; empty: it has not.
	Reboot string `json:"reboot,omitempty"`
}

// Boot says how to leave the bootOS.
type Boot struct {
	// Method is reboot, kexec or poweroff.
	Method string `json:"method"`
	// Disk is where the installed system is, for kexec.
	Disk DiskIdentity `json:"disk"`
}

// Wait says why nothing is to be done.
type Wait struct {
	State  string `json:"state"`
	Reason string `json:"reason"`
}

// Progress is sent at most about once a second.
type Progress struct {
	// Fraction is 0 to 1.
	Fraction float64 `json:"fraction"`
	// Text says what is being done in a few words.
	Text string `json:"text"`
	// Bytes that were received so far.
	Bytes int64 `json:"bytes,omitempty"`
}

// Result ends an action.
type Result struct {
	OK bool `json:"ok"`
	// Error is a sentence with cause and remedy, set when OK is false.
	Error string `json:"error,omitempty"`
	// Retryable says that trying again without a person may help (a broken transfer, not a wrong digest).
	Retryable bool `json:"retryable,omitempty"`
	// Seconds that the action took on the machine's clock.
	Seconds float64 `json:"seconds"`
	// Data depends on the action.
	Data json.RawMessage `json:"data,omitempty"`
}

// InstallImageResult is the Data of a successful [ActionInstallImage].
type InstallImageResult struct {
	// Device is the kernel's name at that time, for people.
	Device string `json:"device"`
	// Received counts bytes over the network; Written those that were not zero and went to the disk.
	Received int64 `json:"received"`
	Written  int64 `json:"written"`
	// Resumed counts how often the transfer broke and was taken up again.
	Resumed int `json:"resumed"`
}

// LogLine is one line for the timeline.
type LogLine struct {
	Time time.Time `json:"time"`
	// Action is the ID of the action that printed it, if any.
	Action string `json:"action,omitempty"`
	Text   string `json:"text"`
}

// Installed is what the installed system's first boot reports. The file `loda.json` of the seed tells it how: see
// [FirstBoot].
type Installed struct {
	Secret   string `json:"secret"`
	Hostname string `json:"hostname,omitempty"`
	// Address that the installed system has on its way to the server.
	Address string  `json:"address,omitempty"`
	Kernel  string  `json:"kernel,omitempty"`
	Uptime  float64 `json:"uptime,omitempty"`
}

// FirstBoot is the content of `loda.json` in the seed.
type FirstBoot struct {
	// URLs to POST an [Installed] to, tried in turn.
	URLs []string `json:"urls"`
	// Secret is good once, for this installation only.
	Secret string `json:"secret"`
	// CA is the certificate authority to trust for these calls, PEM.
	CA string `json:"ca"`
}
