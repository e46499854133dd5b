// Package keys makes what the cluster's parts know each other by: an authority with the API's certificate and its
// client certificate for the kubelet, the key that signs service-account tokens, and one bearer token per identity.
package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The files that Ensure keeps in its folder.
const (
	AuthorityCert = "ca.crt"
	authorityKey  = "ca.key"
	ServerCert    = "apiserver.crt"
	ServerKey     = "apiserver.key"
	ClientCert    = "kubelet-client.crt"
	ClientKey     = "kubelet-client.key"
	// ClientName is the name in ClientCert.
	ClientName  = "kube-apiserver-kubelet-client"
	AccountsKey = "service-accounts.key"
	Tokens      = "tokens.csv"
)

// Identity is a user of the API that authenticates by a token.
type Identity struct {
	// Name is the file name of the identity's kubeconfig, without folder.
	Name   string
	User   string
	Groups []string
}

const validity = 10 * 365 * 24 * time.Hour

// Ensure creates in dir what is missing there, so that a restarted cluster keeps its identities; certificates are
// issued anew for the given names and addresses of the API. It returns each identity's token by name.
func Ensure(dir string, names []string, addresses []net.IP, identities []Identity) (map[string]string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	authority, err := ensureAuthority(dir)
	if err != nil {
		return nil, err
	}
	if _, err := ensureKey(filepath.Join(dir, AccountsKey)); err != nil {
		return nil, err
	}
	err = authority.issue(dir, ServerCert, ServerKey, &x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		DNSNames:    names,
		IPAddresses: addresses,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return nil, err
	}
	err = authority.issue(dir, ClientCert, ClientKey, &x509.Certificate{
		Subject:     pkix.Name{CommonName: ClientName, Organization: []string{"system:masters"}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, err
	}
	return ensureTokens(filepath.Join(dir, Tokens), identities)
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func ensureAuthority(dir string) (authority, error) {
	key, err := ensureKey(filepath.Join(dir, authorityKey))
	if err != nil {
		return authority{}, err
	}
	file := filepath.Join(dir, AuthorityCert)
	if content, err := os.ReadFile(file); err == nil {
		block, _ := pem.Decode(content)
		if block == nil {
			return authority{}, fmt.Errorf("%s holds no certificate; delete the cluster's folder and start again", file)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return authority{}, fmt.Errorf("%s: %w", file, err)
		}
		return authority{cert, key}, nil
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "spatialalign-local-cluster"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(validity),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return authority{}, fmt.Errorf("certificate authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return authority{}, fmt.Errorf("certificate authority: %w", err)
	}
	return authority{cert, key}, writePEM(file, "CERTIFICATE", der)
}

// issue writes a certificate that the authority signs and its key; an existing key is used again.
func (a authority) issue(dir, certFile, keyFile string, template *x509.Certificate) error {
	key, err := ensureKey(filepath.Join(dir, keyFile))
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return fmt.Errorf("certificate %s: %w", certFile, err)
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(validity)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", certFile, err)
	}
	return writePEM(filepath.Join(dir, certFile), "CERTIFICATE", der)
}

// ensureKey reads the private key in file, or makes one.
func ensureKey(file string) (crypto.Signer, error) {
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", file, err)
		}
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", file, err)
		}
		return key, writePEM(file, "EC PRIVATE KEY", der)
	}
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, fmt.Errorf("%s holds no key; delete the cluster's folder and start again", file)
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", file, err)
	}
	return key, nil
}

// ensureTokens keeps the tokens already in the API server's token file and adds those of new identities.
func ensureTokens(file string, identities []Identity) (map[string]string, error) {
	known := map[string]string{}
	if content, err := os.ReadFile(file); err == nil {
		for line := range strings.Lines(string(content)) {
			if fields := strings.SplitN(line, ",", 4); len(fields) == 4 {
				known[fields[1]] = fields[0]
			}
		}
	}
	tokens := map[string]string{}
	var lines strings.Builder
	for _, identity := range identities {
		token := known[identity.User]
		if token == "" {
			token = rand.Text()
		}
		tokens[identity.Name] = token
		fmt.Fprintf(&lines, "%s,%s,%s,%q\n", token, identity.User, identity.Name, strings.Join(identity.Groups, ","))
	}
	return tokens, replaceFile(file, []byte(lines.String()))
}

func writePEM(file, kind string, der []byte) error {
	return replaceFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// replaceFile writes a private file whole: a driver killed half-way leaves the old one or the new one.
func replaceFile(file string, content []byte) error {
	if err := os.WriteFile(file+".new", content, 0o600); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	return nil
}
