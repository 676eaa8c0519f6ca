// The Go CDI library behind a line of JSON in, a line of JSON out.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	oci "github.com/opencontainers/runtime-spec/specs-go"
	"tags.cncf.io/container-device-interface/pkg/cdi"
)

type question struct {
	Data  []byte    `json:"data"`
	Dirs  []string  `json:"dirs"`
	Names []string  `json:"names"`
	OCI   *oci.Spec `json:"oci"`
}

type answer map[string]any

func read(folder string, data []byte) answer {
	path := filepath.Join(folder, "spec.yaml")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return answer{"broken": err.Error()}
	}
	spec, err := cdi.ReadSpec(path, 0)
	switch {
	case err != nil:
		return answer{"error": err.Error()}
	case spec == nil:
		return answer{"error": "no spec"}
	}
	return answer{"spec": spec.Spec}
}

func scan(q question) answer {
	cache, err := cdi.NewCache(cdi.WithSpecDirs(q.Dirs...), cdi.WithAutoRefresh(false))
	if err != nil {
		return answer{"error": err.Error()}
	}
	errors := map[string]int{}
	for path, found := range cache.GetErrors() {
		errors[path] = len(found)
	}
	a := answer{"devices": cache.ListDevices(), "vendors": cache.ListVendors(), "classes": cache.ListClasses(), "errors": errors}
	if q.OCI == nil {
		return a
	}
	unresolved, err := cache.InjectDevices(q.OCI, q.Names...)
	a["unresolved"] = unresolved
	if err != nil {
		a["error"] = err.Error()
	} else {
		a["oci"] = q.OCI
	}
	return a
}

func reply(folder string, line []byte) (a answer) {
	defer func() {
		if r := recover(); r != nil {
			a = answer{"panic": fmt.Sprint(r)}
		}
	}()
	var q question
	if err := json.Unmarshal(line, &q); err != nil {
		return answer{"broken": err.Error()}
	}
	if q.Dirs == nil {
		return read(folder, q.Data)
	}
	return scan(q)
}

func main() {
	folder, err := os.MkdirTemp("", "cdi-go")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(folder)
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		text, err := json.Marshal(reply(folder, line))
		if err != nil {
			text, _ = json.Marshal(answer{"broken": err.Error()})
		}
		out.Write(append(text, '\n'))
		out.Flush()
	}
}
