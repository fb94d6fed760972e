package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/version"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version and the etcd version it is compatible with",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "quorate %s\netcd API %s\n", ourVersion(), version.Version)
			return err
		},
	}
}

// printEtcdVersion is what `etcd --version` prints: tools parse its first line.
func printEtcdVersion(w io.Writer) error {
	_, err := fmt.Fprintf(w, "etcd Version: %s\nquorate Version: %s\nGo Version: %s\nGo OS/Arch: %s/%s\n",
		version.Version, ourVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// ourVersion is the module's tag, or "dev" with the commit it was built from.
func ourVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "dev"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "dev-" + s.Value[:12]
		}
	}
	return "dev"
}
