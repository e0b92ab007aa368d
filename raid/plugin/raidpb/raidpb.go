// Package raidpb is the protocol of RAID plugins as protoc wrote it down from driver.proto. Use package plugin instead.
//
// It was generated with protoc 3.21.12 (Debian's protobuf-compiler 3.21.12-3+deb12u1) and these two, which `go generate`
// has to find in PATH:
//
//	go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
//	go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.0
package raidpb

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative driver.proto
