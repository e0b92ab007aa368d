// Package plugin runs RAID drivers as processes of their own, in-tree ones and those of others: a driver that crashes,
// hangs or leaks takes nothing with it, and one for a new controller needs no new Loda.
//
// A plugin's main is one line:
//
//	func main() { plugin.Serve(&acme.Driver{Run: run.Tool}) }
//
// The host starts it and has a [raid.Driver]:
//
//	p, err := plugin.Start(ctx, plugin.Config{Path: "/opt/raid-acme", SHA256: digest, Logger: logger})
//	if err != nil {
//		return err
//	}
//	defer p.Close(ctx)
//	controllers, err := p.Probe(ctx)
//
// What a driver may rely on, and its host:
//
//   - A context that ends reaches the driver. A call that reads is over once its tool is; a plugin that does not stop
//     reading is ended. [Process.Exec] always waits for the driver's own word, because a write must not be cut off.
//   - A plugin that dies fails the calls that it was working on with a [CrashError]. The next call starts it again, a
//     little later each time, and after some times no more. Nothing is repeated. A tool that a plugin leaves behind
//     while it writes is waited for before there is another one.
//   - With a digest, what was checked is what runs: a sealed copy of the file in memory, also when it is started again.
//   - The driver logs with [log/slog], prints where it likes, and all of it arrives in [Config.Logger].
//
// The protocol is hashicorp/go-plugin's over gRPC, described in raidpb/driver.proto.
package plugin
