package redlock

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fullResumable has something in every field, bytes that are no text included.
func fullResumable(t *testing.T) Resumable {
	r := Resumable{Name: "orders/42 \xff&=?", Value: "s3cr3t", Token: MaxToken, TTL: 1500*time.Millisecond + 1,
		Label: "w\n1", Meta: `{"job":"a&b"}`, Announce: true}
	v := reflect.ValueOf(&r).Elem()
	for i := range v.NumField() {
		if v.Field(i).Kind() == reflect.Bool {
			v.Field(i).SetBool(true)
		}
		require.False(t, v.Field(i).IsZero(), "this test must set %s", v.Type().Field(i).Name)
	}
	return r
}

// Ensure that every field survives the way through text and JSON, and that the text is one printable word.
func TestResumable_Text(t *testing.T) {
	for _, r := range []Resumable{fullResumable(t), {Name: "x", Value: "v", Token: 1, TTL: MinTTL}} {
		text, err := r.MarshalText()
		require.NoError(t, err)
		assert.Regexp(t, `^holdfast-handle:1\?[!-~]+$`, string(text))
		assert.NotContains(t, string(text), `"`)
		var again Resumable
		require.NoError(t, again.UnmarshalText(text))
		assert.Equal(t, r, again)

		inJSON, err := json.Marshal(map[string]Resumable{"h": r})
		require.NoError(t, err)
		var read map[string]Resumable
		require.NoError(t, json.Unmarshal(inJSON, &read))
		assert.Equal(t, r, read["h"])
	}
}

// Ensure that the text of version 1 is read for ever.
func TestResumable_Version1(t *testing.T) {
	var r Resumable
	require.NoError(t, r.UnmarshalText([]byte("holdfast-handle:1?announce=true&label=w&meta=%7B%7D&name=orders%2F42&token=17&ttl=15s&value=abc")))
	assert.Equal(t, Resumable{Name: "orders/42", Value: "abc", Token: 17, TTL: 15 * time.Second, Label: "w", Meta: "{}", Announce: true}, r)
}

// Ensure that nothing prints the owner value by accident.
func TestResumable_HidesTheValue(t *testing.T) {
	r := fullResumable(t)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "handle", r, "pointer", &r)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "handle", r, "pointer", &r)
	for _, text := range []string{log.String(), r.String(), fmt.Sprint(r, &r), fmt.Sprintf("%v %+v %#v %s %q", r, r, r, r, r)} {
		assert.NotContains(t, text, r.Value)
		assert.Contains(t, text, fmt.Sprint(r.Token))
	}
}

// Ensure that what is no handle, or that of another version, is refused with an error that gives nothing away,
// and changes nothing.
func TestResumable_Refused(t *testing.T) {
	const good = "holdfast-handle:1?name=x&token=17&ttl=15s&value=s3cr3t"
	require.NoError(t, new(Resumable).UnmarshalText([]byte(good)))
	for _, text := range []string{
		"", "x", "holdfast-handle:2?name=x&token=17&ttl=15s&value=s3cr3t", "holdfast-handle:1?",
		good + "&later=1", good + "&name=y", good + "&label=", good + "&announce=false", good + "&shared=false", good + ";x=1", good + "&label=%zz",
		good + "&label=" + strings.Repeat("l", MaxLabel+1), good + "&meta=" + strings.Repeat("m", MaxMeta+1),
		good + "&" + strings.Repeat("m", maxResumable),
		strings.Replace(good, "token=17", "token=0", 1), strings.Replace(good, "token=17", "token=x", 1),
		strings.Replace(good, "ttl=15s", "ttl=15", 1), strings.Replace(good, "ttl=15s", "ttl=9ms", 1),
		strings.Replace(good, "name=x", "name=", 1), strings.Replace(good, "name=x&", "", 1),
		strings.Replace(good, "value=s3cr3t", "value=", 1),
		strings.Replace(good, "value=s3cr3t", "value="+strings.Repeat("s3cr3t", 43), 1),
	} {
		r := Resumable{Name: "before"}
		err := r.UnmarshalText([]byte(text))
		require.ErrorIs(t, err, ErrInvalid, text)
		assert.NotContains(t, err.Error(), "s3cr3t")
		assert.Equal(t, Resumable{Name: "before"}, r)
	}
	for _, text := range []string{good + "&label=" + strings.Repeat("l", MaxLabel), good + "&meta=" + strings.Repeat("m", MaxMeta)} {
		require.NoError(t, new(Resumable).UnmarshalText([]byte(text)))
	}
	_, err := Resumable{}.MarshalText()
	require.ErrorIs(t, err, ErrInvalid)
	big := Resumable{Name: strings.Repeat("\xff", MaxName), Value: strings.Repeat("v", MaxLabel), Token: MaxToken, TTL: time.Hour,
		Label: strings.Repeat("\xff", MaxLabel), Meta: strings.Repeat("\xff", MaxMeta)}
	text, err := big.MarshalText()
	require.NoError(t, err)
	require.NoError(t, new(Resumable).UnmarshalText(text), "the longest fits")
}

// Ensure that any text is read or refused, and that what was read is written as what is read again.
func FuzzResumable(f *testing.F) {
	f.Add("holdfast-handle:1?name=x&token=17&ttl=15s&value=s")
	f.Add("holdfast-handle:1?announce=true&label=w&meta=%7B%7D&name=orders%2F42&token=17&ttl=15s&value=abc")
	f.Fuzz(func(t *testing.T, text string) {
		var r, again Resumable
		if r.UnmarshalText([]byte(text)) != nil {
			return
		}
		written, err := r.MarshalText()
		require.NoError(t, err)
		require.NoError(t, again.UnmarshalText(written))
		require.Equal(t, r, again)
	})
}
