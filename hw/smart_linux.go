package hw

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// atOnce bounds how many disks are asked at the same time.
const atOnce = 64

// hanging are the disks that have not yet answered an earlier detection. They are not asked again before they do, so
// that a dying disk holds one thread and no more.
var hanging sync.Map

// health asks all disks that have something to say of themselves: no RAID volumes, nothing removable or behind USB,
// whose bridges hang on commands that they do not know, and no bus without such a command.
func (t *tree) health(ctx context.Context, disks []Disk, patience time.Duration) {
	var waiting sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range disks {
		d := &disks[i]
		if d.Kind != PhysicalDisk || !slices.Contains([]Bus{BusATA, BusSAS, BusSCSI, BusNVMe}, d.Bus) ||
			d.Removable != nil && *d.Removable || strings.HasPrefix(d.Name, "sr") {
			continue
		}
		slots <- struct{}{}
		waiting.Go(func() {
			defer func() { <-slots }()
			d.Health = t.diskHealth(ctx, d, patience)
		})
	}
	waiting.Wait()
}

func (t *tree) diskHealth(ctx context.Context, d *Disk, patience time.Duration) *DiskHealth {
	answers, err := t.ask("smart/"+d.Name, func() ([]byte, error) {
		return askPatiently(ctx, d.Name, patience, func() ([]byte, error) {
			answers, err := askDisk(*d, patience)
			return answers.format(), err
		})
	})
	if errors.Is(err, errNotCaptured) {
		return nil
	}
	var parsed smartAnswers
	if err == nil {
		parsed, err = parseSmart(answers)
	}
	if err == nil {
		return parsed.health(d)
	}
	var missing unknowns
	for _, field := range healthFields(d) {
		missing.addErr(field, err)
	}
	return &DiskHealth{Unknown: missing}
}

// healthFields are those that count for a disk of its sort, as [smartAnswers.health] fills them.
func healthFields(d *Disk) []string {
	fields := []string{"passed", "media_errors"}
	if d.Medium == SSD || d.Medium == NVMe {
		fields = append(fields, "wear_percent")
	}
	switch {
	case strings.HasPrefix(d.Name, "nvme"):
	case d.Bus == BusATA:
		fields = append(fields, "reallocated", "pending")
	case d.Medium != SSD && d.Medium != NVMe:
		fields = append(fields, "reallocated")
	}
	return fields
}

// askPatiently runs one disk's questions for so long. A dying disk can hold an ioctl for minutes, and nothing can end
// it: the goroutine ends when the ioctl does.
func askPatiently(ctx context.Context, disk string, patience time.Duration,
	ask func() ([]byte, error)) ([]byte, error) {
	if _, busy := hanging.LoadOrStore(disk, true); busy {
		return nil, errors.New("the disk still owes an answer to an earlier question")
	}
	type answer struct {
		data []byte
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		defer hanging.Delete(disk)
		data, err := ask()
		done <- answer{data, err}
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case a := <-done:
		return a.data, a.err
	case <-timer.C:
		return nil, fmt.Errorf("the disk did not answer within %v", patience)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// askDisk asks a disk of this machine. It only reads.
func askDisk(d Disk, patience time.Duration) (smartAnswers, error) {
	node := "/dev/" + strings.ReplaceAll(d.Name, "!", "/") // the kernel writes / as ! in sysfs
	f, err := os.OpenFile(node, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	ask := asker{fd: int(f.Fd()), patience: patience, until: time.Now().Add(patience), answers: smartAnswers{}}
	switch {
	case strings.HasPrefix(d.Name, "nvme"):
		ask.nvme()
	case d.Bus == BusATA:
		ask.ata(d.Medium == SSD)
	default:
		ask.scsi(d.Medium)
	}
	runtime.KeepAlive(f)
	return ask.answers, nil
}

// asker collects the answers of one disk. After its time it asks no more: nobody waits for the answers.
type asker struct {
	fd       int
	patience time.Duration
	until    time.Time
	answers  smartAnswers
}

func (a *asker) keep(name string, data []byte, err error) {
	a.answers[name] = smartAnswer{data, err}
}

// nvmeAdmin is the kernel's struct nvme_passthru_cmd (include/uapi/linux/nvme_ioctl.h).
type nvmeAdmin struct {
	opcode, flags      uint8
	_                  uint16
	nsid, cdw2, cdw3   uint32
	metadata           uint64
	addr               uint64
	metadataLen        uint32
	dataLen            uint32
	cdw10, cdw11       uint32
	cdw12, cdw13       uint32
	cdw14, cdw15       uint32
	timeoutMs, result0 uint32
}

const ioctlNVMeAdmin = 0xc0484e41 // _IOWR('N', 0x41, struct nvme_passthru_cmd)

func (a *asker) nvme() {
	page := make([]byte, 512)
	cmd := nvmeAdmin{
		opcode:    0x02, // Get Log Page
		nsid:      0xffffffff,
		addr:      uint64(uintptr(unsafe.Pointer(&page[0]))),
		dataLen:   uint32(len(page)),
		cdw10:     uint32(len(page)/4-1)<<16 | 0x02,
		timeoutMs: uint32(a.patience.Milliseconds()),
	}
	status, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(a.fd), ioctlNVMeAdmin, uintptr(unsafe.Pointer(&cmd)))
	runtime.KeepAlive(page)
	switch {
	case errno != 0:
		a.keep(nvmeHealth, nil, errno)
	case status != 0:
		a.keep(nvmeHealth, nil, fmt.Errorf("the controller refuses with status %#x", status))
	default:
		a.keep(nvmeHealth, page, nil)
	}
}

// sgHeader is the kernel's struct sg_io_hdr (include/scsi/sg.h).
type sgHeader struct {
	interfaceID    int32
	direction      int32
	cmdLen         uint8
	maxSense       uint8
	iovecCount     uint16
	dataLen        uint32
	data           unsafe.Pointer
	cmd            unsafe.Pointer
	sense          unsafe.Pointer
	timeoutMs      uint32
	flags          uint32
	packID         int32
	userPtr        uintptr
	status         uint8
	maskedStatus   uint8
	msgStatus      uint8
	senseLen       uint8
	hostStatus     uint16
	driverStatus   uint16
	residual       int32
	duration, info uint32
}

const (
	ioctlSG       = 0x2285
	sgFromDevice  = -3
	sgNoData      = -1
	checkCond     = 0x02
	driverSense   = 0x08
	recoveredErr  = 0x01
	maxSenseBytes = 64
)

// command sends one SCSI command that reads up to size bytes. It returns the data and the sense data.
func (a *asker) command(cdb []byte, size int) (data, sense []byte, err error) {
	left := time.Until(a.until)
	if left <= 0 {
		return nil, nil, errors.New("no time is left")
	}
	sense = make([]byte, maxSenseBytes)
	h := sgHeader{interfaceID: 'S', direction: sgNoData, cmdLen: uint8(len(cdb)), maxSense: maxSenseBytes,
		cmd: unsafe.Pointer(&cdb[0]), sense: unsafe.Pointer(&sense[0]), timeoutMs: uint32(left.Milliseconds()) + 1}
	if size > 0 {
		data = make([]byte, size)
		h.direction, h.dataLen, h.data = sgFromDevice, uint32(size), unsafe.Pointer(&data[0])
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(a.fd), ioctlSG, uintptr(unsafe.Pointer(&h))); errno != 0 {
		return nil, nil, errno
	}
	sense = sense[:min(int(h.senseLen), len(sense))]
	if h.residual > 0 && int(h.residual) <= len(data) {
		data = data[:len(data)-int(h.residual)]
	}
	switch {
	case h.hostStatus != 0:
		return nil, sense, fmt.Errorf("the host adapter fails with status %#x", h.hostStatus)
	case h.status != 0 && h.status != checkCond, h.driverStatus&^driverSense != 0:
		return nil, sense, fmt.Errorf("the device fails with status %#x", h.status)
	}
	if key, asc, ascq := senseKey(sense); key != 0 && key != recoveredErr {
		return nil, sense, senseError{key, asc, ascq}
	}
	return data, sense, nil
}

// senseError is a device's reason to refuse a command.
type senseError struct{ key, asc, ascq byte }

func (e senseError) Error() string {
	if e.key == 0x05 || e.key == 0x0b {
		return fmt.Sprintf("the disk refuses the command (sense %x/%02x/%02x)", e.key, e.asc, e.ascq)
	}
	return fmt.Sprintf("the disk fails the command (sense %x/%02x/%02x)", e.key, e.asc, e.ascq)
}

func senseKey(sense []byte) (key, asc, ascq byte) {
	switch {
	case len(sense) >= 4 && sense[0]&0x7e == 0x72:
		return sense[1] & 0x0f, sense[2], sense[3]
	case len(sense) >= 14 && sense[0]&0x7e == 0x70:
		return sense[2] & 0x0f, sense[12], sense[13]
	}
	return 0, 0, 0
}

// ata sends ATA commands through the translation layer: ATA PASS-THROUGH (16) (SAT-4 12.2.3).
func (a *asker) ata(solidState bool) {
	const (
		fromDevice  = 0x08
		oneBlock    = 0x06 // in blocks of 512 bytes, as many as the sector count says
		wantStatus  = 0x20
		pioIn       = 4 << 1
		noData      = 3 << 1
		extended    = 1
		smart       = 0xb0
		readLogExt  = 0x2f
		smartMiddle = 0x4f
		smartHigh   = 0xc2
	)
	data, _, err := a.command([]byte{0x85, pioIn, fromDevice | oneBlock, 0, 0xd0, 0, 1, 0, 0, 0, smartMiddle, 0,
		smartHigh, 0, smart, 0}, 512)
	a.keep(ataData, data, err)
	_, sense, err := a.command([]byte{0x85, noData, wantStatus, 0, 0xda, 0, 0, 0, 0, 0, smartMiddle, 0,
		smartHigh, 0, smart, 0}, 0)
	if err == nil && len(sense) == 0 {
		err = errors.New("the translation layer does not return the disk's registers")
	}
	a.keep(ataStatus, sense, err)
	if solidState { // log 04h, page 7
		data, _, err = a.command([]byte{0x85, pioIn | extended, fromDevice | oneBlock, 0, 0, 0, 1, 0, 0x04, 0, 7, 0,
			0, 0, readLogExt, 0}, 512)
		a.keep(ataEndurance, data, err)
	}
}

// scsi asks for those log pages that the disk has, and for the length of its list of grown defects.
func (a *asker) scsi(medium Medium) {
	pages := []struct {
		code byte
		name string
	}{{0x2f, scsiExceptions}, {0x02, scsiWrite}, {0x03, scsiRead}, {0x05, scsiVerify}, {0x0d, scsiTemperature},
		{0x11, scsiSolidState}, {0x15, scsiScan}}
	supported, err := a.logPage(0)
	if err != nil {
		a.keep(scsiExceptions, nil, fmt.Errorf("the list of log pages: %w", err))
	} else {
		for _, p := range pages {
			if slices.Contains(supported[4:], p.code) {
				data, err := a.logPage(p.code)
				a.keep(p.name, data, err)
			}
		}
	}
	if medium != SSD && medium != NVMe {
		// READ DEFECT DATA (12), the grown list in bytes from index; 8 bytes are its header.
		data, _, err := a.command([]byte{0xb7, 0x08 | 0x04, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0}, 8)
		a.keep(scsiDefects, data, err)
	}
}

// logPage reads a page with its cumulative values (SPC-5 6.8).
func (a *asker) logPage(code byte) ([]byte, error) {
	const size = 1024
	cdb := []byte{0x4d, 0, 0x40 | code, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(cdb[7:], size)
	data, _, err := a.command(cdb, size)
	if err != nil {
		return nil, err
	}
	if len(data) < 4 || data[0]&0x3f != code {
		return nil, errors.New("the disk answers with another page")
	}
	return data[:min(len(data), 4+int(binary.BigEndian.Uint16(data[2:])))], nil
}
