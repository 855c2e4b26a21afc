package server

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/clock"
)

// stats counts what has happened since the start or CONFIG RESETSTAT.
type stats struct {
	conns         int64
	rejectedConns int64
	calls         int64 // that were executed, those in transactions and scripts included
	errors        int64 // error replies
	expired       int64 // keys
}

func infoCommands() []*command {
	return []*command{
		{name: "info", arity: -1, flags: flagLoading | flagStale, categories: catDangerous, since: "1.0.0",
			tips: []string{"nondeterministic_output", "request_policy:all_shards", "response_policy:special"}, handler: infoCommand},
	}
}

// An infoSection is a part of INFO that can be asked for by its name.
type infoSection struct {
	name  string
	write func(s *Server, p *infoPrinter)
}

func infoSections() []infoSection {
	return []infoSection{
		{"Server", infoServer},
		{"Clients", infoClients},
		{"Memory", infoMemory},
		{"Persistence", infoPersistence},
		{"Stats", infoStats},
		{"Replication", infoReplication},
		{"Cluster", infoCluster},
		{"Keyspace", infoKeyspace},
	}
}

// infoCommand answers with sections of lines "field:value".
func infoCommand(c *Call) error {
	wanted := make(map[string]bool)
	for _, word := range c.Args[1:] {
		wanted[strings.ToLower(string(word))] = true
	}
	all := len(wanted) == 0 || wanted["default"] || wanted["all"] || wanted["everything"]
	var p infoPrinter
	for _, section := range infoSections() {
		if all || wanted[strings.ToLower(section.name)] {
			p.start(section.name)
			section.write(c.srv, &p)
		}
	}
	c.Out.Verbatim("txt", p.text.String())
	return nil
}

// An infoPrinter writes the text of INFO.
type infoPrinter struct{ text strings.Builder }

func (p *infoPrinter) start(section string) {
	if p.text.Len() > 0 {
		p.text.WriteString("\r\n")
	}
	fmt.Fprintf(&p.text, "# %s\r\n", section)
}

func (p *infoPrinter) field(name string, value any) {
	fmt.Fprintf(&p.text, "%s:%v\r\n", name, value)
}

func infoServer(s *Server, p *infoPrinter) {
	up := clock.Since(s.start)
	p.field("redis_version", redisVersion)
	p.field("redis_mode", "standalone")
	p.field("server_name", "holdfast")
	p.field("holdfast_version", buildVersion())
	p.field("os", runtime.GOOS)
	p.field("arch_bits", 32<<(^uint(0)>>63))
	p.field("go_version", runtime.Version())
	p.field("process_id", os.Getpid())
	p.field("run_id", s.runID)
	p.field("tcp_port", s.config.Port)
	p.field("server_time_usec", clock.Wall().UnixMicro())
	p.field("uptime_in_seconds", int64(up/time.Second))
	p.field("uptime_in_days", int64(up/(24*time.Hour)))
	p.field("hz", s.config.Hz)
	p.field("configured_hz", s.config.Hz)
}

// buildVersion returns the version of the module that the program was built from.
func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func infoClients(s *Server, p *infoPrinter) {
	p.field("connected_clients", len(s.sessions))
	p.field("cluster_connections", 0)
	p.field("maxclients", s.config.MaxClients)
	p.field("blocked_clients", s.blocked.n)
	p.field("tracking_clients", 0)
}

func infoMemory(_ *Server, p *infoPrinter) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	p.field("used_memory", m.HeapAlloc)
	p.field("used_memory_human", humanBytes(m.HeapAlloc))
	p.field("used_memory_rss", m.Sys-m.HeapReleased)
	p.field("used_memory_rss_human", humanBytes(m.Sys-m.HeapReleased))
	p.field("maxmemory", 0)
	p.field("maxmemory_human", "0B")
	p.field("maxmemory_policy", "noeviction")
	p.field("mem_allocator", "go")
	p.field("gc_cycles", m.NumGC)
}

func humanBytes(n uint64) string {
	units := []string{"B", "K", "M", "G", "T"}
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f /= 1024
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%d%s", n, units[i])
	}
	return fmt.Sprintf("%.2f%s", f, units[i])
}

func infoPersistence(s *Server, p *infoPrinter) {
	p.field("loading", 0)
	p.field("async_loading", 0)
	p.field("rdb_changes_since_last_save", s.dirty)
	p.field("rdb_bgsave_in_progress", 0)
	p.field("aof_enabled", 0)
	p.field("aof_rewrite_in_progress", 0)
}

func infoStats(s *Server, p *infoPrinter) {
	p.field("total_connections_received", s.stats.conns)
	p.field("total_commands_processed", s.stats.calls)
	p.field("rejected_connections", s.stats.rejectedConns)
	p.field("expired_keys", s.stats.expired)
	p.field("evicted_keys", 0)
	p.field("pubsub_channels", len(s.broker.Channels(nil)))
	p.field("pubsub_patterns", s.broker.NumPat())
	p.field("total_error_replies", s.stats.errors)
}

func infoReplication(_ *Server, p *infoPrinter) {
	p.field("role", "master")
	p.field("connected_slaves", 0)
}

func infoCluster(_ *Server, p *infoPrinter) { p.field("cluster_enabled", 0) }

func infoKeyspace(s *Server, p *infoPrinter) {
	for i := range s.keys.DBs() {
		db := s.keys.DB(i)
		if db.Len() > 0 {
			p.field(fmt.Sprintf("db%d", i), fmt.Sprintf("keys=%d,expires=%d,avg_ttl=0", db.Len(), db.Volatile()))
		}
	}
}
