//go:build faults

package faults

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// alone is an operator process that nothing stands in front of: what it costs is measured.
type alone struct {
	*exec.Cmd
	metrics, token string
	client         *http.Client
}

// startAlone starts an operator for a namespace, with its metrics on.
func (c *cluster) startAlone(ctx context.Context, namespace string) (*alone, error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "reader"}}
	reads := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: namespace}, Rules: []rbacv1.PolicyRule{{Verbs: []string{"get"}, NonResourceURLs: []string{"/metrics"}}}}
	binds := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: namespace},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: namespace},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: account.Name}},
	}
	token := &authenticationv1.TokenRequest{}
	if err := errors.Join(c.make(ctx, account, reads, binds), c.SubResource("token").Create(ctx, account, token)); err != nil {
		return nil, err
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := free.Addr().String()
	log, err := os.Create(filepath.Join(c.logs, namespace+".log"))
	if err := errors.Join(err, free.Close()); err != nil {
		return nil, err
	}
	o := &alone{
		Cmd: exec.Command(binary, "manager", "--namespaces="+namespace, "--stage-image=operator:1",
			"--metrics-bind-address="+address, "--health-probe-bind-address=0"),
		metrics: "https://" + address + "/metrics", token: token.Status.Token,
		// Its certificate is its own.
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}},
	}
	o.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(c.logs, "admin.kubeconfig"), "POD_NAMESPACE="+namespace, "GOGC=100")
	o.Stdout, o.Stderr = log, log
	if err := o.Start(); err != nil {
		return nil, fmt.Errorf("start %s (make bench-loop builds it): %w", binary, err)
	}
	processes.add(o.end)
	return o, nil
}

// end ends the operator.
func (o *alone) end() {
	_ = o.Process.Kill() // one that has ended already is as good
	_ = o.Wait()
}

// requests that the operator has made of the API server, its watches and their beginnings among them.
func (o *alone) requests(ctx context.Context) (total float64, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, o.metrics, nil)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "Bearer "+o.token)
	answer, err := o.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s", o.metrics, answer.Status)
	}
	return sumOf(bufio.NewScanner(answer.Body), "rest_client_requests_total{")
}

// sumOf adds up the samples that begin so, in Prometheus' text format.
func sumOf(lines *bufio.Scanner, beginning string) (sum float64, err error) {
	found := false
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), beginning) {
			continue
		}
		value := lines.Text()[strings.LastIndexByte(lines.Text(), ' ')+1:]
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, err
		}
		sum, found = sum+n, true
	}
	if !found {
		return 0, fmt.Errorf("no sample begins with %s", beginning)
	}
	return sum, lines.Err()
}
