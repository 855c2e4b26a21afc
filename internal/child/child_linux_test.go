package child

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Ensure that of several values of a variable the command gets the last, and no other: programs differ in which of
// two they see.
func TestRun_Environment(t *testing.T) {
	path, line := pipe(t)
	wait := start(t, `tr '\0' '\n' </proc/$$/environ | grep ^LOCK_ >"$P"; echo end >"$P"`,
		[]string{"LOCK_NAME=outer", "LOCK_TOKEN=1", "P=" + path, "LOCK_TOKEN=2", "LOCK_NAME=inner"}, leaseFor(time.Hour), nil)
	var got []string
	for l := line(); l != "end"; l = line() {
		got = append(got, l)
	}
	assert.ElementsMatch(t, []string{"LOCK_NAME=inner", "LOCK_TOKEN=2"}, got)
	assert.Equal(t, Exit{}, wait())
}

// Ensure that the command dies with a parent that is killed and so cannot see to it.
func TestRun_ParentKilled(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	path, line := pipe(t)
	parent := exec.Command(self, "sh", "-c", `echo $$ >"$P"; exec sleep 1000`)
	parent.Env = append(os.Environ(), helperVariable+"=yes", "P="+path)
	require.NoError(t, parent.Start())
	command := line()
	pid, err := strconv.Atoi(command)
	require.NoError(t, err)
	require.NoError(t, parent.Process.Kill())
	_ = parent.Wait()
	if !assert.Eventually(t, func() bool { return gone(command) }, 5*time.Second, 5*time.Millisecond) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// Ensure that the command lives on while threads of this process end, as those do whose goroutine has locked
// them: the thread that started it must not be one of them.
func TestRun_ThreadsEnd(t *testing.T) {
	stop := make(chan struct{})
	var churn sync.WaitGroup
	for range 2 {
		churn.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					runtime.LockOSThread() // and never unlocks, which ends the thread
				}()
				<-ended
			}
		})
	}
	var commands sync.WaitGroup
	for range 8 {
		commands.Go(func() {
			for range 5 {
				exit, err := Run(Command{Argv: []string{"sleep", "0.02"}, Env: os.Environ()}, leaseFor(time.Hour))
				assert.NoError(t, err)
				assert.Equal(t, Exit{}, exit)
			}
		})
	}
	commands.Wait()
	close(stop)
	churn.Wait()
}

// Ensure that the id of the command's group is nobody else's for as long as something may be sent to it: the
// command has ended, and is collected only when all is done.
func TestRun_CollectedLast(t *testing.T) {
	lease := leaseFor(safely)
	command := make(chan int, 1)
	states := make(chan string, 1)
	path, line := pipe(t)
	go func() {
		id, _ := strconv.Atoi(line())
		command <- id
		lease.left.Store(int64(guard))
	}()
	wait := startCommand(t, `echo $$ >"$P"; exec sleep 1000`, []string{"P=" + path}, lease, Command{Notify: func(Step) {
		// The signal has been sent and attend is here, in its own call: it cannot have seen the end yet.
		pid := strconv.Itoa(<-command)
		for stat := []byte(nil); !assert.ObjectsAreEqual("Z", string(stat)); {
			all, err := os.ReadFile("/proc/" + pid + "/stat")
			if err != nil {
				states <- err.Error()
				return
			}
			_, after, _ := bytes.Cut(all, []byte(") "))
			stat = after[:1]
		}
		states <- "not collected"
	}})
	assert.Equal(t, Exit{Code: 143, Lost: true}, wait())
	assert.Equal(t, "not collected", <-states)
}

// Ensure that files which this process was given beside the standard streams are the command's too.
func TestRun_InheritsFiles(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	shell := exec.Command("sh", "-c", `"$0" sh -c 'cat <&3' 3<<-END
		through descriptor 3
	END`, self)
	shell.Env = append(os.Environ(), helperVariable+"=yes")
	out, err := shell.CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Equal(t, "through descriptor 3\n", string(out))
}
