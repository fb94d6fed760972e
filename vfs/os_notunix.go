//go:build !unix && !js

package vfs

import (
	"errors"
	"os"
)

// lockFile refuses: a data directory that cannot be locked could be opened
// twice, and two writers destroy a log.
func lockFile(*os.File) error { return errors.ErrUnsupported }

// syncDir has no counterpart on this system.
func syncDir(string) error { return nil }
