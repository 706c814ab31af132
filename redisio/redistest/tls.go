package redistest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"testing"
	"time"
)

// StartTLS starts a private server that accepts only TLS and requires client certificates.
// [Server.Client] and [Server.Options] have one. It ends with the test.
func StartTLS(t testing.TB, opts ...Option) *Server {
	t.Helper()
	s, err := NewTLS(context.Background(), opts...)
	return started(t, s, err)
}

// NewTLS is StartTLS for harnesses without a testing.TB. Close ends the server.
func NewTLS(ctx context.Context, opts ...Option) (*Server, error) {
	return New(ctx, append([]Option{withTLS}, opts...)...)
}

// TLS returns the client configuration: the authority that signed the server's certificate, and a
// client certificate. It is nil for a server without TLS.
func (s *Server) TLS() *tls.Config { return s.tls.Clone() }

// withTLS creates an authority that lasts as long as the server, and signs the certificates of both
// sides.
func withTLS(c *config) error {
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redistest"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return err
	}
	serverCert, serverKey, err := sign(ca, caKey, 2, x509.ExtKeyUsageServerAuth)
	if err != nil {
		return err
	}
	clientCert, clientKey, err := sign(ca, caKey, 3, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair([]byte(clientCert), []byte(clientKey))
	if err != nil {
		return err
	}
	caPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(caPEM) {
		return fmt.Errorf("the authority's certificate is invalid")
	}
	c.Options.TLS = true
	c.Files = map[string]string{"ca.crt": string(caPEM), "server.crt": serverCert, "server.key": serverKey}
	c.Args = append(
		c.Args,
		"--tls-ca-cert-file",
		"ca.crt",
		"--tls-cert-file",
		"server.crt",
		"--tls-key-file",
		"server.key",
		"--tls-auth-clients",
		"yes",
	)
	c.tls = &tls.Config{
		MinVersion:   tls.VersionTLS12,
		RootCAs:      roots,
		ServerName:   "localhost",
		Certificates: []tls.Certificate{pair},
	}
	return nil
}

// sign returns a certificate and its key as PEM.
func sign(
	ca *x509.Certificate,
	caKey *ecdsa.PrivateKey,
	serial int64,
	use x509.ExtKeyUsage,
) (cert, key string, err error) {
	leaf := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{use}}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, private.Public(), caKey)
	if err != nil {
		return "", "", err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})), nil
}
