// Package raidtest is a laboratory for RAID drivers: a controller with its drives that exists only in a file, and a suite
// of tests that any [raid.Driver] can run over it.
//
//	func TestDriver(t *testing.T) {
//		raidtest.Run(t, raidtest.Suite{New: func(t *testing.T, c *raidtest.Chassis) raid.Driver {
//			return mytool.New(emulator(t, c))
//		}})
//	}
//
// A [Chassis] is the file. It may be open in several processes at once, such as a test and an emulator of a vendor's tool
// that a driver starts again for each command. An emulator is small: it parses arguments, calls [Chassis.Read] or
// [Chassis.Change], and prints what the tool would print.
//
//	state, answer, err := chassis.Read(ctx, "show")
//	answer, err := chassis.Change(ctx, string(raid.StepDeleteVolume), func(s *raidtest.State) error {
//		return s.Controllers[0].DeleteVolume(3)
//	})
//
// What firmware allows is decided by the methods of [Controller], which refuse with a [Refusal] for the emulator to put
// into its tool's words. What goes wrong is decided by the test: drives fail, disappear and go foreign by methods of
// [Controller] as well; commands hang, lie and lose power by a [Fault].
package raidtest
