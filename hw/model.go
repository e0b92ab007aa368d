package hw

// A Model says what a machine must look like.
type Model struct{}

// Severity of a [Difference].
type Severity string

const (
	Fail Severity = "fail"
	Warn Severity = "warn"
	Info Severity = "info"
)

// A Difference is one way in which a machine is not what its model says.
type Difference struct {
	// Path of the field by its JSON names, such as `memory/dimms[A3]/part_number`.
	Path string `json:"path"`
	// Slot is what people call the place of the part, Serial the serial number of the part that is there.
	Slot   string `json:"slot,omitempty"`
	Serial string `json:"serial,omitempty"`
	Want   string `json:"want"`
	Got    string `json:"got"`
	// Severity is fail, warn or info.
	Severity Severity `json:"severity"`
	// Text is the whole as a sentence.
	Text string `json:"text"`
}

func (d Difference) String() string { return d.Text }

// Compare returns all differences, in a fixed order.
func (m *Model) Compare(*Facts) []Difference { return nil }

// Generate makes a model from a known-good machine.
func Generate(*Facts) *Model { return &Model{} }

// Validate reports everything that is wrong with the model itself.
func (m *Model) Validate() error { return nil }
