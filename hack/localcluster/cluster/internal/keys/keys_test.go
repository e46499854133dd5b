package keys

import (
	"crypto/x509"
	"encoding/csv"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"testing"
)

var (
	dnsNames   = []string{"kubernetes.default.svc"}
	identities = []Identity{
		{Name: "admin", User: "admin", Groups: []string{"system:masters"}},
		{Name: "node", User: "system:node:node0", Groups: []string{"system:nodes", "extra"}},
	}
)

func TestTheServerCertificateIsTrustedForItsNamesAndAddresses(t *testing.T) {
	dir := t.TempDir()
	ensure(t, dir, "10.199.0.2")
	roots := x509.NewCertPool()
	roots.AddCert(readCert(t, filepath.Join(dir, AuthorityCert)))
	server := readCert(t, filepath.Join(dir, ServerCert))
	for _, host := range []string{"10.199.0.2", "kubernetes.default.svc"} {
		if _, err := server.Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
			t.Errorf("as %s: %v", host, err)
		}
	}
	if _, err := server.Verify(x509.VerifyOptions{Roots: roots, DNSName: "10.199.0.6"}); err == nil {
		t.Error("trusted for an address that it was not issued for")
	}
}

func TestIdentitiesSurviveARestartAtAnotherAddress(t *testing.T) {
	dir := t.TempDir()
	before := ensure(t, dir, "10.199.0.2")
	authority, accounts := read(t, dir, AuthorityCert), read(t, dir, AccountsKey)
	after := ensure(t, dir, "10.199.0.6")
	for name, token := range before {
		if after[name] != token {
			t.Errorf("the token of %s changed", name)
		}
	}
	if read(t, dir, AuthorityCert) != authority || read(t, dir, AccountsKey) != accounts {
		t.Error("the authority or the service accounts' key changed")
	}
	if got := readCert(t, filepath.Join(dir, ServerCert)).IPAddresses[0].String(); got != "10.199.0.6" {
		t.Errorf("the server's certificate is for %s", got)
	}
}

func TestTokenFileIsOneTheAPIServerReads(t *testing.T) {
	dir := t.TempDir()
	tokens := ensure(t, dir, "10.199.0.2")
	file, err := os.Open(filepath.Join(dir, Tokens))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	records, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != len(identities) || tokens["admin"] == tokens["node"] {
		t.Fatalf("records %v, tokens %v", records, tokens)
	}
	if got := records[1]; got[0] != tokens["node"] || got[1] != "system:node:node0" || got[3] != "system:nodes,extra" {
		t.Errorf("the node's record is %q", got)
	}
}

func TestKeysAreReadByTheirOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	ensure(t, dir, "10.199.0.2")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", entry.Name(), info.Mode())
		}
	}
}

func TestADamagedKeyIsNamed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, AccountsKey), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Ensure(dir, dnsNames, nil, identities); err == nil {
		t.Error("garbage was taken as a key")
	}
}

func ensure(t *testing.T, dir, address string) map[string]string {
	t.Helper()
	tokens, err := Ensure(dir, dnsNames, []net.IP{net.ParseIP(address)}, identities)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func readCert(t *testing.T, file string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(read(t, filepath.Dir(file), filepath.Base(file))))
	if block == nil {
		t.Fatalf("%s holds no PEM block", file)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
