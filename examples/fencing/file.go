//go:build unix

package fencing

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// WriteFile replaces a file whose first line is the token. flock(2) on a second file, path.lock, makes the check and
// the replacement one step for all who come through here; the lock cannot be on the file itself, which every write
// replaces by another one. A reader sees the old file or the new one, never a half.
//
// It is for programs of one machine. Whether flock holds between machines that share a file system depends on the
// file system and how it is mounted.
func WriteFile(path, text string, token int64) (err error) {
	gate, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer gate.Close() // lets the next one in
	if err := syscall.Flock(int(gate.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("flock %s: %w", gate.Name(), err)
	}
	seen, err := fileToken(path)
	if err != nil {
		return err
	}
	if token < seen {
		return ErrStale
	}
	next, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(next.Name()) // nothing, after the rename
	_, err = fmt.Fprintf(next, "token %d\n%s", token, text)
	if err = errors.Join(err, next.Sync(), next.Close()); err != nil {
		return err
	}
	if err := os.Rename(next.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// fileToken returns the token of a file, 0 if there is no file.
func fileToken(path string) (token int64, err error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer file.Close()
	if _, err := fmt.Fscanf(file, "token %d\n", &token); err != nil {
		return 0, fmt.Errorf("%s was written without a token: %w", path, err)
	}
	return token, nil
}

// syncDir makes a rename outlive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
