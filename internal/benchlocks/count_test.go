package main

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Ensure that only the client's own commands count, not what its scripts call, and publications apart.
func TestParseCommandStats(t *testing.T) {
	const text = "# Commandstats\r\ncmdstat_evalsha:calls=7,usec=91,usec_per_call=13.00,rejected_calls=0,failed_calls=0\r\n" +
		"cmdstat_set:calls=5,usec=3,usec_per_call=0.60\r\ncmdstat_publish:calls=2,usec=9\r\ncmdstat_client|info:calls=1,usec=1\r\n"
	got, err := parseCommandStats(text, []string{"evalsha", "eval"})
	require.NoError(t, err)
	assert.Equal(t, traffic{commands: 7, messages: 2, busy: 91e3}, got)
	got, err = parseCommandStats(text, []string{"set", "evalsha"})
	require.NoError(t, err)
	assert.Equal(t, traffic{commands: 12, messages: 2, busy: 94e3}, got)
	for _, line := range []string{"cmdstat_set:calls=x,usec=1", "cmdstat_set:calls=1,usec=x", "cmdstat_set:calls=1"} {
		_, err = parseCommandStats(line, []string{"set"})
		assert.Error(t, err, line)
	}
}

// Ensure that etcd's requests of all kinds are added up and its watch events counted as messages.
func TestParseEtcdMetrics(t *testing.T) {
	const text = `# HELP grpc_server_msg_received_total Total number of RPC stream messages received on the server.
grpc_server_msg_received_total{grpc_method="Txn",grpc_service="etcdserverpb.KV",grpc_type="unary"} 3
grpc_server_msg_received_total{grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"} 1
grpc_server_msg_sent_total{grpc_method="Txn",grpc_service="etcdserverpb.KV",grpc_type="unary"} 3
grpc_server_msg_sent_total{grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"} 2
go_goroutines 90
`
	got, err := parseEtcdMetrics(strings.NewReader(text))
	require.NoError(t, err)
	assert.EqualValues(t, 4, got.commands)
	assert.EqualValues(t, 2, got.messages)
	assert.True(t, math.IsNaN(got.busy), "not known")
	_, err = parseEtcdMetrics(strings.NewReader(`grpc_server_msg_received_total{grpc_method="Txn"} many`))
	assert.Error(t, err)
}
