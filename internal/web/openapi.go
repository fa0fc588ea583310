package web

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"

	"gopkg.in/yaml.v3"
)

//go:embed openapi.yaml
var openAPIText []byte

// openAPI is the description of what programs ask, as JSON.
var openAPI = sync.OnceValue(func() []byte {
	var doc any
	err := yaml.Unmarshal(openAPIText, &doc)
	if err == nil {
		var out []byte
		if out, err = json.Marshal(doc); err == nil {
			return out
		}
	}
	panic(fmt.Sprintf("web: embedded description: %v", err))
})

func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) {
	sendJSON(w, http.StatusOK, openAPI())
}
