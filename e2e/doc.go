// Package e2e tests the binary as its users meet it: real processes on loopback,
// real signals, real clients, real files. It holds tests only.
//
// What it shows is what no package below can show alone: that `quorate dev` keeps
// a cluster up, that nothing acknowledged is missing after kill -9, that members
// come, go and catch up under load, that bad input ends in one clear line, that
// etcdctl's commands do by hand what its manual says, and that the session in the
// README is true.
//
// TestMain builds ./cmd/quorate once. The tests wait for things, with generous
// limits as a guard against hanging, and measure no time: `make failover` does.
// They need neither root nor a container, run on free ports, and take up to 2 GB
// in the directory for temporary files while they run.
package e2e
