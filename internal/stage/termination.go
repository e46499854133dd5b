package stage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"unicode/utf8"

	"github.com/spatialalign/operator/internal/contract"
)

// encodeTermination gives at most MaxTermination bytes of JSON, cutting the message when needed. A
// termination that does not fit without its message is replaced by one that says so.
func encodeTermination(t *contract.Termination) ([]byte, error) {
	data, err := marshalTermination(t)
	if err != nil {
		return nil, err
	}
	if len(data) <= contract.MaxTermination {
		return data, nil
	}
	const cut = " ... (the rest is in the log)"
	const field = len(`,"message":""`)
	short := *t
	short.Message = ""
	if data, err = marshalTermination(&short); err != nil {
		return nil, err
	}
	if len(data)+field+len(cut) > contract.MaxTermination {
		err := fmt.Errorf("outputs, counts and metrics take %d bytes, a termination message has %d", len(data), contract.MaxTermination)
		data, _ := marshalTermination(&contract.Termination{Class: contract.ExitBug.Class(), Message: err.Error()})
		return data, err
	}
	// Escapes make a byte of the message up to six of JSON: shorten until it fits.
	for keep := min(len(t.Message), contract.MaxTermination-len(data)); ; keep -= 64 {
		for keep > 0 && keep < len(t.Message) && !utf8.RuneStart(t.Message[keep]) {
			keep--
		}
		short.Message = t.Message[:max(0, keep)] + cut
		if data, err = marshalTermination(&short); err != nil || len(data) <= contract.MaxTermination {
			return data, err
		}
	}
}

func marshalTermination(t *contract.Termination) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(t); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(buffer.Bytes()), nil
}

// writeTermination writes to the file that the kubelet put there, and where there is none (a stage
// run by hand) to standard output.
func writeTermination(deps Deps, message []byte) error {
	file, err := os.OpenFile(deps.TerminationPath, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		_, err = fmt.Fprintf(deps.Stdout, "%s\n", message)
		return err
	}
	if _, err := file.Write(message); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}
