package server

import (
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/ds"
	"github.com/holdfast-dev/holdfast/internal/geo"
)

// geoCommands are the commands on sorted sets whose scores are places. Those that search are in geosearch.go.
func geoCommands() []*command {
	row := func(name string, arity int, flags flag, since string, h handler) *command {
		return &command{name: name, arity: arity, flags: flags, categories: catGeo, keys: oneKey, since: since, handler: h}
	}
	const write = flagWrite | flagDenyOOM
	georadius := row("georadius", -6, write|flagMovablekeys, "3.2.0", georadiusCommand)
	georadiusbymember := row("georadiusbymember", -5, write|flagMovablekeys, "3.2.0", georadiusbymemberCommand)
	georadius.findKeys, georadiusbymember.findKeys = georadiusKeys(6), georadiusKeys(5)
	geosearchstore := row("geosearchstore", -8, write, "6.2.0", geosearchstoreCommand)
	geosearchstore.keys = twoKeys
	return []*command{
		row("geoadd", -5, write, "3.2.0", geoaddCommand),
		row("geodist", -4, flagReadonly, "3.2.0", geodistCommand),
		row("geohash", -2, flagReadonly, "3.2.0", geohashCommand),
		row("geopos", -2, flagReadonly, "3.2.0", geoposCommand),
		row("geosearch", -7, flagReadonly, "6.2.0", geosearchCommand),
		geosearchstore,
		georadius,
		row("georadius_ro", -6, flagReadonly, "3.2.10", georadiusRoCommand),
		georadiusbymember,
		row("georadiusbymember_ro", -5, flagReadonly, "3.2.10", georadiusbymemberRoCommand),
	}
}

const (
	errGeoUnit   = wireError("ERR unsupported unit provided. please use M, KM, FT, MI")
	errGeoMember = wireError("ERR could not decode requested zset member")
)

// parsePoint reads a longitude and a latitude.
func parsePoint(lon, lat []byte) (p geo.Point, err error) {
	if p.Lon, err = float(lon); err != nil {
		return p, err
	}
	if p.Lat, err = float(lat); err != nil {
		return p, err
	}
	if !p.Valid() {
		return p, errorf("ERR invalid longitude,latitude pair %s,%s", sixPlaces(p.Lon), sixPlaces(p.Lat))
	}
	return p, nil
}

// sixPlaces is C's %f.
func sixPlaces(f float64) string {
	return strings.ToLower(strings.TrimPrefix(strconv.FormatFloat(f, 'f', 6, 64), "+"))
}

// parseUnit returns the meters of a unit of length.
func parseUnit(word []byte) (float64, error) {
	switch {
	case isWord(word, "m"):
		return 1, nil
	case isWord(word, "km"):
		return 1000, nil
	case isWord(word, "ft"):
		return 0.3048, nil
	case isWord(word, "mi"):
		return 1609.34, nil
	}
	return 0, errGeoUnit
}

// placeOf returns where a member is, and whether it exists; z may be nil.
func placeOf(z *ds.ZSet, member []byte) (geo.Point, bool) {
	if z == nil {
		return geo.Point{}, false
	}
	score, ok := z.Score(string(member))
	return geo.Decode(score), ok
}

// replyDistance writes a length with four places.
func (c *Call) replyDistance(d float64) { c.Out.BulkString(strconv.FormatFloat(d, 'f', 4, 64)) }

// replyPoint writes longitude and latitude.
func (c *Call) replyPoint(p geo.Point) {
	c.Out.Array(2)
	for _, f := range [...]float64{p.Lon, p.Lat} {
		text := humanFloat(f)
		if c.Out.RESP3() {
			c.Out.Raw([]byte("," + text + "\r\n"))
		} else {
			c.Out.BulkString(text)
		}
	}
}

// humanFloat is a number with up to 17 places after the point.
func humanFloat(f float64) string {
	text := strings.TrimRight(strconv.FormatFloat(f, 'f', 17, 64), "0")
	if text = strings.TrimSuffix(text, "."); text == "-0" {
		return "0"
	}
	return text
}

// geoaddCommand is ZADD with the scores of the places.
func geoaddCommand(c *Call) error {
	var o zaddOptions
	words := c.Args[2:]
options:
	for ; len(words) > 0; words = words[1:] {
		switch word := words[0]; {
		case isWord(word, "nx"):
			o.nx = true
		case isWord(word, "xx"):
			o.xx = true
		case isWord(word, "ch"):
			o.ch = true
		default:
			break options
		}
	}
	if len(words)%3 != 0 || o.nx && o.xx {
		return errSyntax
	}
	var pairs [][]byte
	for place := range slices.Chunk(words, 3) {
		p, err := parsePoint(place[0], place[1])
		if err != nil {
			return err
		}
		pairs = append(pairs, strconv.AppendUint(nil, geo.Encode(p), 10), place[2])
	}
	if len(pairs) == 0 {
		return errSyntax
	}
	return c.zadd(o, pairs)
}

func geodistCommand(c *Call) error {
	unit := 1.0
	switch {
	case len(c.Args) == 5:
		var err error
		if unit, err = parseUnit(c.Args[4]); err != nil {
			return err
		}
	case len(c.Args) > 5:
		return errSyntax
	}
	_, z, err := c.lookupZSet(c.Args[1])
	if err != nil {
		return err
	}
	p, ok := placeOf(z, c.Args[2])
	q, ok2 := placeOf(z, c.Args[3])
	if !ok || !ok2 {
		c.Out.Null()
		return nil
	}
	c.replyDistance(geo.Distance(p, q) / unit)
	return nil
}

func geohashCommand(c *Call) error {
	return c.eachPlace(func(p geo.Point) { c.Out.BulkString(geo.Hash(p)) }, c.Out.Null)
}

func geoposCommand(c *Call) error { return c.eachPlace(c.replyPoint, c.Out.NullArray) }

// eachPlace answers something for each of the members of the call.
func (c *Call) eachPlace(reply func(geo.Point), missing func()) error {
	_, z, err := c.lookupZSet(c.Args[1])
	if err != nil {
		return err
	}
	c.Out.Array(len(c.Args) - 2)
	for _, member := range c.Args[2:] {
		if p, ok := placeOf(z, member); ok {
			reply(p)
		} else {
			missing()
		}
	}
	return nil
}
