// Package api is the operators' HTTP API of a lodad: its types and a client. The handlers are in loda/apiserver, and a
// running lodad describes the API itself, as OpenAPI 3.1, at /openapi.json.
//
// Every call needs a bearer token with a role; see [Role].
package api

import (
	"time"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
)

// Version of the API, of which the paths carry the first number. It changes with the API and not with each build.
const Version = "1.0.0"

// Role says what a token may do. Each includes the ones before it.
type Role string

const (
	// Viewer may read everything but secrets.
	Viewer Role = "viewer"
	// Operator may import machines and open, hold, release, retry and cancel installations.
	Operator Role = "operator"
	// Admin may delete machines, and make and revoke tokens.
	Admin Role = "admin"
)

// Roles in ascending order.
var Roles = []Role{Viewer, Operator, Admin}

// Machine is a machine and the installation that it is in, or was in last.
type Machine struct {
	inventory.Machine
	Installation *Installation `json:"installation,omitempty" doc:"the open installation, or the last one"`
}

// Installation is an installation without what only its agent needs.
type Installation struct {
	ID           string                        `json:"id"`
	Serial       inventory.Serial              `json:"serial"`
	State        inventory.State               `json:"state"`
	Reason       string                        `json:"reason,omitempty"`
	Profile      string                        `json:"profile"`
	Image        string                        `json:"image"`
	Attempt      int                           `json:"attempt"`
	Progress     float64                       `json:"progress" doc:"of the state, 0 to 1"`
	ProgressText string                        `json:"progress_text,omitempty"`
	CreatedAt    time.Time                     `json:"created_at"`
	UpdatedAt    time.Time                     `json:"updated_at"`
	StateSince   time.Time                     `json:"state_since"`
	Entered      map[inventory.State]time.Time `json:"entered,omitempty" doc:"when each state of this attempt was entered first"`
	Deadline     time.Time                     `json:"deadline,omitzero"`
	Address      string                        `json:"address,omitempty" doc:"of the installed system, as it reported"`
	Revision     string                        `json:"revision,omitempty" doc:"commit that this attempt is planned with"`
	Quarantine   loda.Quarantine               `json:"quarantine,omitempty" enum:"identity,hardware,profile,raid" doc:"what a quarantined machine is suspected of"`
	Differences  []hw.Difference               `json:"differences,omitempty" doc:"to the model, of the last comparison; not in lists"`
}

// MachinePage is one page of machines, ordered by serial number.
type MachinePage struct {
	Items []Machine `json:"items"`
	Next  string    `json:"next,omitempty" doc:"pass it as after for the next page; empty: this is the last one"`
}

// InstallationPage is one page of installations, newest first.
type InstallationPage struct {
	Items []Installation `json:"items"`
	Next  string         `json:"next,omitempty" doc:"pass it as after for the next page; empty: this is the last one"`
}

// EventPage is one page of a timeline, oldest first.
type EventPage struct {
	Items []inventory.Event `json:"items"`
	Next  int64             `json:"next,omitempty" doc:"pass it as after for the next page, or to poll for what is new"`
}

// Lease is a DHCP lease, or an address that is put aside.
type Lease struct {
	Address   string        `json:"address"`
	MAC       inventory.MAC `json:"mac,omitempty" doc:"who holds it; empty for an address that is put aside"`
	Subnet    string        `json:"subnet"`
	Hostname  string        `json:"hostname,omitempty" doc:"what the machine called itself, or who put the address aside"`
	GrantedAt time.Time     `json:"granted_at"`
	ExpiresAt time.Time     `json:"expires_at"`
	State     LeaseState    `json:"state" enum:"active,expired,declined"`
}

// LeaseState says what a lease is worth.
type LeaseState string

const (
	LeaseActive   LeaseState = "active"
	LeaseExpired  LeaseState = "expired"  // ended or released; the address stays with its machine while others are free
	LeaseDeclined LeaseState = "declined" // somebody else was seen to use the address
)

// LeasePage is one page of leases, ordered by address.
type LeasePage struct {
	Items []Lease `json:"items"`
	Next  string  `json:"next,omitempty" doc:"pass it as after for the next page; empty: this is the last one"`
}

// InstallRequest opens an installation.
type InstallRequest struct {
	Profile string `json:"profile,omitempty" doc:"instead of the machine's own"`
	Hold    bool   `json:"hold,omitempty" doc:"open it without letting the machine begin"`
}

// ReasonRequest goes with what a person decides.
type ReasonRequest struct {
	Reason string `json:"reason,omitempty" maxLength:"500" doc:"kept in the timeline; releasing from quarantine needs one"`
}

// ImportResult says what an import did, or would do.
type ImportResult = loda.ImportResult

// Profile is a profile of the site.
type Profile struct {
	Name      string `json:"name"`
	Image     string `json:"image"`
	Installer string `json:"installer,omitempty" doc:"kind of the distribution's installer, instead of an image"`
	Boot      string `json:"boot,omitempty"`
	Revision  string `json:"revision,omitempty" doc:"commit that it was read from"`
}

// Repository is what a site knows of the git repository that its profiles come from.
type Repository struct {
	URL          string         `json:"url"`
	Ref          string         `json:"ref" doc:"branch, tag or commit that is followed"`
	Commit       *Commit        `json:"commit,omitempty" doc:"the one in use"`
	InUseSince   time.Time      `json:"in_use_since,omitzero"`
	Refused      *RefusedCommit `json:"refused,omitempty" doc:"what the remote has, and is not used"`
	LastSuccess  time.Time      `json:"last_success,omitzero" doc:"of a fetch"`
	FailingSince time.Time      `json:"failing_since,omitzero"`
	LastError    string         `json:"last_error,omitempty" doc:"of the last fetch, if it failed"`
	NextPoll     time.Time      `json:"next_poll,omitzero"`
}

// Commit of a git repository.
type Commit struct {
	Hash    string    `json:"hash"`
	Author  string    `json:"author,omitempty"`
	Time    time.Time `json:"time,omitzero"`
	Message string    `json:"message,omitempty" doc:"first line"`
}

// RefusedCommit is a commit that does not validate.
type RefusedCommit struct {
	Commit
	Since  time.Time `json:"since"`
	Errors []string  `json:"errors" doc:"each with file, line and column where it has one"`
}

// Rendering is what one machine would get.
type Rendering = loda.Rendering

// Token is an API token without its secret.
type Token struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Role      Role      `json:"role"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// TokenRequest makes a token.
type TokenRequest struct {
	Name string `json:"name" minLength:"1" maxLength:"64" doc:"who or what will use it"`
	Role Role   `json:"role" enum:"viewer,operator,admin"`
	Days int    `json:"days,omitempty" minimum:"0" maximum:"3650" doc:"until it expires; 0: never"`
}

// NewToken is a token with its secret, which is told only once.
type NewToken struct {
	Token
	Secret string `json:"secret"`
}

// Site says what is being talked to.
type Site struct {
	Site    string `json:"site"`
	Version string `json:"version"`
}

// Problem is the body of every error, RFC 9457.
type Problem struct {
	Type   string         `json:"type,omitempty"`
	Title  string         `json:"title,omitempty"`
	Status int            `json:"status"`
	Detail string         `json:"detail,omitempty"`
	Errors []ProblemError `json:"errors,omitempty"`
}

// ProblemError is one of several things that are wrong.
type ProblemError struct {
	Message  string `json:"message"`
	Location string `json:"location,omitempty"`
}

// Error makes a problem an error.
func (p *Problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	for _, e := range p.Errors {
		text += "\n  "
		if e.Location != "" {
			text += e.Location + ": "
		}
		text += e.Message
	}
	return text
}
