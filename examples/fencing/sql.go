package fencing

import (
	"context"
	"database/sql"
)

// Tables are those of the two functions below. The type of a token is a 64-bit integer: BIGINT in PostgreSQL and
// MySQL, INTEGER in SQLite.
const Tables = `
CREATE TABLE orders (id TEXT PRIMARY KEY, status TEXT NOT NULL, token BIGINT NOT NULL DEFAULT 0);
CREATE TABLE fences (name TEXT PRIMARY KEY, token BIGINT NOT NULL);
`

// SetStatus writes one row that keeps the token itself. The WHERE is the fence: the database checks and writes in
// one statement. A row that does not exist is ErrStale as well.
//
// For PostgreSQL write $1, $2 and so on. For MySQL set clientFoundRows=true in the DSN: without it the rows that
// an UPDATE left as they were are not counted, and the same write again would look stale.
func SetStatus(ctx context.Context, db *sql.DB, id, status string, token int64) error {
	res, err := db.ExecContext(ctx, `UPDATE orders SET status = ?, token = ? WHERE id = ? AND token <= ?`, status, token, id, token)
	return checkFence(res, err)
}

// Fenced runs a transaction of any size under the fence of a lock name. Its first statement raises the token, and
// with it locks the row of the fence until the transaction ends: a later holder waits for it, an earlier one is
// refused. Everything that the lock protects must be written through here.
//
// The statement is the same in SQLite and, with $1 and $2, in PostgreSQL. MySQL has no such WHERE; there insert the
// row once (INSERT IGNORE) and use the UPDATE of SetStatus. Under REPEATABLE READ or SERIALIZABLE a conflict may
// also end in a serialization failure, which is to be tried again, and then finds ErrStale.
func Fenced(ctx context.Context, db *sql.DB, name string, token int64, write func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // nothing, after Commit
	res, err := tx.ExecContext(ctx, `INSERT INTO fences (name, token) VALUES (?, ?)
		ON CONFLICT (name) DO UPDATE SET token = excluded.token WHERE fences.token <= excluded.token`, name, token)
	if err := checkFence(res, err); err != nil {
		return err
	}
	if err := write(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// checkFence tells a statement that the fence has let through from one that found nothing to write.
func checkFence(res sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		err = ErrStale
	}
	return err
}
