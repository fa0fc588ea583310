package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/alecthomas/kingpin/v2"
)

func addHealthcheck(k *kingpin.Application, p *process) (string, func(context.Context) error) {
	c := k.Command("healthcheck", "Ask a running yoyu whether it is ready; for images without a shell.")
	address := c.Flag("url", "Address of the running yoyu.").Default("http://127.0.0.1:9912/-/ready").String()
	trusting := c.Flag("insecure-skip-verify", "Take any certificate: that of a daemon on the same machine names another host.").Bool()
	return "healthcheck", func(ctx context.Context) error { return healthcheck(ctx, *address, *trusting) }
}

// healthcheck asks once, straight, for five seconds at most.
func healthcheck(ctx context.Context, address string, trusting bool) error {
	ctx, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return errors.New("--url: not an address such as http://127.0.0.1:9912/-/ready")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	client := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: trusting}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", address, res.Status)
	}
	return nil
}
