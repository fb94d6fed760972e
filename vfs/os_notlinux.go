//go:build !linux && !js

package vfs

import (
	"errors"
	"os"
)

func syncData(f *os.File) error { return f.Sync() }

// allocate leaves it to the caller to write zeros.
func allocate(*os.File, int64) error { return errors.ErrUnsupported }
