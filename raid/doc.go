// Package raid knows storage controllers. Today it tells from a controller's PCI ids what it is and which vendor tool
// drives it, before any tool runs:
//
//	for _, c := range facts.Controllers {
//		if r, ok := raid.Recognize(c); ok {
//			fmt.Println(c.Address, r.Family, "by", r.Tool)
//		}
//	}
package raid
