package exec

import (
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"strings"

	"github.com/quorate/quorate/internal/id"
	"github.com/quorate/quorate/vfs"
)

// Identity is whose data directory it is. It is written once, except for Boot.
type Identity struct {
	Cluster   uint64
	Self      id.NodeID
	Directory id.DirectoryID // random; pinned in the configuration (DESIGN 14)
	Boot      uint32         // starts so far, this one included
}

const (
	identityFile = "IDENTITY"
	identityTemp = "IDENTITY.new"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Format of IDENTITY (docs/format/identity.md): lines of text, the last a
// checksum of all before it.
func (i Identity) encode() []byte {
	body := fmt.Sprintf("quorate-identity 1\ncluster %016x\nnode %d\nincarnation %d\ndirectory %s\nboot %d\n",
		i.Cluster, i.Self.Node, i.Self.Incarnation, hex.EncodeToString(i.Directory[:]), i.Boot)
	return fmt.Appendf([]byte(body), "crc32c %08x\n", crc32.Checksum([]byte(body), castagnoli))
}

func decodeIdentity(b []byte) (Identity, error) {
	var i Identity
	var version int
	var directory string
	var sum uint32
	head, _, _ := strings.Cut(string(b), "\n")
	if n, err := fmt.Sscanf(head, "quorate-identity %d", &version); n != 1 || err != nil {
		return i, errors.New("it does not begin with quorate-identity")
	}
	if version != 1 {
		return i, fmt.Errorf("its format version is %d; this program knows 1", version)
	}
	_, err := fmt.Sscanf(string(b), "quorate-identity %d\ncluster %x\nnode %d\nincarnation %d\ndirectory %s\nboot %d\ncrc32c %x\n",
		&version, &i.Cluster, &i.Self.Node, &i.Self.Incarnation, &directory, &i.Boot, &sum)
	if err != nil {
		return i, fmt.Errorf("it is damaged (%w)", err)
	}
	raw, err := hex.DecodeString(directory)
	if err != nil || len(raw) != len(i.Directory) {
		return i, errors.New("its directory id is damaged")
	}
	copy(i.Directory[:], raw)
	if string(i.encode()) != string(b) {
		return i, errors.New("its checksum does not match")
	}
	return i, nil
}

// readIdentity returns ok false if the directory has none.
func readIdentity(files vfs.FS) (i Identity, ok bool, err error) {
	f, err := files.Open(identityFile)
	if errors.Is(err, fs.ErrNotExist) {
		return i, false, nil
	}
	if err != nil {
		return i, false, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return i, false, err
	}
	if size > 4096 {
		return i, false, fmt.Errorf("%s: it is %d bytes long and should be a few lines; restore it from a backup", identityFile, size)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return i, false, err
	}
	if i, err = decodeIdentity(b); err != nil {
		return i, false, fmt.Errorf("%s: %w; restore it from a backup, or wipe this member and add it again", identityFile, err)
	}
	return i, true, nil
}

// writeIdentity replaces the file: after a crash it is the old one or the new.
func writeIdentity(files vfs.FS, i Identity) error {
	if err := files.Remove(identityTemp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := files.Create(identityTemp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(i.encode(), 0)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = files.Rename(identityTemp, identityFile)
	}
	if err == nil {
		err = files.SyncDir(".")
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", identityFile, err)
	}
	return nil
}
