// Goclient drives a WinRM endpoint with masterzen/winrm and prints what it got as one JSON object.
//
// It is the end-to-end tests' second opinion on the guest's WinRM service: a client that shares no code with those in
// Python. Built without a network from Debian's golang-github-masterzen-winrm-dev:
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go build -o goclient ./goclient
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/masterzen/winrm"
)

type result struct {
	ExitCode     int     `json:"exit_code"`
	Stdout       string  `json:"stdout"`
	Stderr       string  `json:"stderr"`
	StdoutBytes  int     `json:"stdout_bytes"`
	StdoutSHA256 string  `json:"stdout_sha256"`
	Seconds      float64 `json:"seconds"`
	Error        string  `json:"error"`
}

// shown is how much of a stream the result carries as text; the whole of it is told by length and hash.
const shown = 2000

func head(data []byte) string {
	if len(data) > shown {
		data = data[:shown]
	}
	return string(data)
}

func run(host string, port int, https bool, ca string, auth string, user string, password string, command string, stdin io.Reader) (result, error) {
	certificate, err := []byte(nil), error(nil)
	if ca != "" {
		if certificate, err = os.ReadFile(ca); err != nil {
			return result{}, err
		}
	}
	endpoint := winrm.NewEndpoint(host, port, https, https && ca == "", certificate, nil, nil, 2*time.Minute)
	parameters := *winrm.DefaultParameters
	if auth == "ntlm" {
		parameters.TransportDecorator = func() winrm.Transporter { return &winrm.ClientNTLM{} }
	}
	client, err := winrm.NewClientWithParameters(endpoint, user, password, &parameters)
	if err != nil {
		return result{}, err
	}
	var stdout, stderr bytes.Buffer
	var code int
	if stdin == nil {
		code, err = client.Run(command, &stdout, &stderr)
	} else {
		code, err = client.RunWithInput(command, &stdout, &stderr, stdin)
	}
	sum := sha256.Sum256(stdout.Bytes())
	return result{
		ExitCode:     code,
		Stdout:       head(stdout.Bytes()),
		Stderr:       head(stderr.Bytes()),
		StdoutBytes:  stdout.Len(),
		StdoutSHA256: hex.EncodeToString(sum[:]),
	}, err
}

func main() {
	host := flag.String("host", "127.0.0.1", "host of the endpoint")
	port := flag.Int("port", 5986, "port of the endpoint")
	https := flag.Bool("https", true, "TLS; this library has no message encryption, which HTTP needs")
	ca := flag.String("ca", "", "PEM file to check the certificate against; none: it is not checked")
	auth := flag.String("auth", "basic", "basic or ntlm")
	user := flag.String("user", "", "account")
	passwordFile := flag.String("password-file", "", "file with the password")
	command := flag.String("command", "", "command line")
	input := flag.String("stdin", "", "file whose bytes are the command's input")
	flag.Parse()

	password, err := os.ReadFile(*passwordFile)
	var stdin io.Reader
	if err == nil && *input != "" {
		var data []byte
		if data, err = os.ReadFile(*input); err == nil {
			stdin = bytes.NewReader(data)
		}
	}
	began := time.Now()
	var answer result
	if err == nil {
		answer, err = run(*host, *port, *https, *ca, *auth, *user, string(bytes.TrimRight(password, "\r\n")), *command, stdin)
	}
	answer.Seconds = time.Since(began).Seconds()
	if err != nil {
		answer.Error = err.Error()
	}
	encoded, _ := json.Marshal(answer)
	fmt.Println(string(encoded))
	if err != nil {
		os.Exit(1)
	}
}
