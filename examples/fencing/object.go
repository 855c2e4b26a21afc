package fencing

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// tokenHeader is user metadata of an object, as S3 and those who speak its language call it.
const tokenHeader = "X-Amz-Meta-Lock-Token"

// PutObject writes an object of a store that knows conditional puts: S3, and many others. (Google's has
// x-goog-if-generation-match, which does the same with numbers.) Signing the requests is the client's business.
//
// It looks at the token of the object that is there, and replaces exactly that object (If-Match) or none
// (If-None-Match: *). If another one was written in between, the store refuses, and it looks again.
//
// The first line of the body repeats the token. An ETag may be a hash of the body alone, as S3's is: then a later
// holder who writes the same text would leave the same ETag, and an earlier one who has looked before would not be
// refused.
func PutObject(ctx context.Context, c *http.Client, url, text string, token int64) error {
	for {
		seen, tag, err := lookAt(ctx, c, url)
		if err != nil {
			return err
		}
		if token < seen {
			return ErrStale
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, strings.NewReader(fmt.Sprintf("token %d\n%s", token, text)))
		if err != nil {
			return err
		}
		req.Header.Set(tokenHeader, strconv.FormatInt(token, 10))
		if tag == "" {
			req.Header.Set("If-None-Match", "*")
		} else {
			req.Header.Set("If-Match", tag)
		}
		res, err := send(c, req)
		if err != nil {
			return err
		}
		switch res.StatusCode {
		case http.StatusOK, http.StatusCreated, http.StatusNoContent:
			return nil
		case http.StatusPreconditionFailed, http.StatusConflict, http.StatusNotFound:
			// Somebody was faster; 409 is S3's word for two at once, 404 for an object that was deleted.
		default:
			return fmt.Errorf("put %s: %s", url, res.Status)
		}
	}
}

// lookAt returns the token of the object and its ETag, which is empty if there is no object.
func lookAt(ctx context.Context, c *http.Client, url string) (token int64, tag string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return 0, "", err
	}
	res, err := send(c, req)
	switch {
	case err != nil:
		return 0, "", err
	case res.StatusCode == http.StatusNotFound:
		return 0, "", nil
	case res.StatusCode != http.StatusOK:
		return 0, "", fmt.Errorf("head %s: %s", url, res.Status)
	}
	token, err = strconv.ParseInt(res.Header.Get(tokenHeader), 10, 64)
	if err != nil {
		return 0, "", fmt.Errorf("%s was written without a token", url)
	}
	return token, res.Header.Get("ETag"), nil
}

func send(c *http.Client, req *http.Request) (*http.Response, error) {
	res, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res, err
}
