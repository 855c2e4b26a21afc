package fencing

import (
	"database/sql"
	"errors"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"
)

func openSQL(t *testing.T) *sql.DB {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "orders.db")+"?_pragma=busy_timeout(5000)")
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	_, err = db.ExecContext(t.Context(), Tables+`INSERT INTO orders (id, status) VALUES ('42', 'new'), ('43', 'new');`)
	require.NoError(t, err)
	return db
}

func status(t *testing.T, db *sql.DB, id string) (s string) {
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT status FROM orders WHERE id = ?`, id).Scan(&s))
	return s
}

// Ensure that a row refuses a stale writer.
func TestSetStatus(t *testing.T) {
	tellStory(t, func(t *testing.T) resource {
		db := openSQL(t)
		return resource{
			write: func(text string, token int64) error { return SetStatus(t.Context(), db, "42", text, token) },
			read:  func() string { return status(t, db, "42") },
		}
	})
	db := openSQL(t)
	require.ErrorIs(t, SetStatus(t.Context(), db, "44", "new", 1), ErrStale, "there is no such row")
	require.NoError(t, SetStatus(t.Context(), db, "43", "sent", 1), "each row has its own token")
}

// Ensure that a transaction of several statements is refused as a whole.
func TestFenced(t *testing.T) {
	tellStory(t, func(t *testing.T) resource {
		db := openSQL(t)
		return resource{
			write: func(text string, token int64) error {
				return Fenced(t.Context(), db, "orders", token, func(tx *sql.Tx) error {
					_, err1 := tx.ExecContext(t.Context(), `UPDATE orders SET status = ? WHERE id = '42'`, text)
					_, err2 := tx.ExecContext(t.Context(), `UPDATE orders SET status = ? WHERE id = '43'`, text)
					return errors.Join(err1, err2)
				})
			},
			read: func() string {
				assert.Equal(t, status(t, db, "42"), status(t, db, "43"))
				return status(t, db, "42")
			},
		}
	})
}

// Ensure that a transaction that fails leaves the fence as it was.
func TestFenced_Failed(t *testing.T) {
	db := openSQL(t)
	broken := errors.New("broken")
	require.ErrorIs(t, Fenced(t.Context(), db, "orders", 2, func(*sql.Tx) error { return broken }), broken)
	require.NoError(t, Fenced(t.Context(), db, "orders", 1, func(*sql.Tx) error { return nil }))
}
