package main

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// An Asset is a server as this company's CMDB has always described it, in its own words.
type Asset struct {
	SerialNumber string            `json:"serial_number"`
	Hostname     string            `json:"hostname,omitempty"`
	Status       string            `json:"status"` // "managed" or "seen"
	Role         string            `json:"role,omitempty"`
	Location     string            `json:"location,omitempty"`
	Tags         map[string]string `json:"tags,omitempty"`
	NICs         []string          `json:"nics,omitempty"`
	IP           string            `json:"ip,omitempty"`
	BIOSUUID     string            `json:"bios_uuid,omitempty"`
	Manufacturer string            `json:"manufacturer,omitempty"`
	Model        string            `json:"model,omitempty"`
	Report       json.RawMessage   `json:"report,omitempty"`
	Created      time.Time         `json:"created"`
	Updated      time.Time         `json:"updated"`
	LastSeen     time.Time         `json:"last_seen,omitzero"`
	// Revision counts the changes. Whoever writes an asset says which revision was read; 0: a new one.
	Revision int64 `json:"revision"`
}

// CMDB stands in for the real one: assets in memory behind JSON over HTTP.
//
//	GET    /assets?after=&limit=&location=&nic=&ip=   a page, ordered by serial number
//	GET    /assets/{serial}                           404 if there is none
//	POST   /assets/batch                              stores all assets or none: 409 if a revision is stale, or a NIC
//	                                                  or IP belongs to another asset
//	DELETE /assets/{serial}
//
// Two of its properties are what an inventory needs of any CMDB: a batch is stored as a whole, and a write that was
// prepared from something older is refused.
type CMDB struct {
	mu     sync.Mutex
	assets map[string]Asset
}

// NewCMDB makes an empty one.
func NewCMDB() *CMDB { return &CMDB{assets: map[string]Asset{}} }

// Handler serves the API.
func (c *CMDB) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /assets", c.list)
	mux.HandleFunc("GET /assets/{serial}", c.get)
	mux.HandleFunc("POST /assets/batch", c.batch)
	mux.HandleFunc("DELETE /assets/{serial}", c.remove)
	return mux
}

func (c *CMDB) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit, err := strconv.Atoi(cmp.Or(q.Get("limit"), "100"))
	if err != nil || limit < 1 {
		http.Error(w, "limit is not a positive number", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	page := []Asset{}
	for _, a := range c.assets {
		if a.SerialNumber > q.Get("after") &&
			(q.Get("location") == "" || q.Get("location") == a.Location) &&
			(q.Get("nic") == "" || slices.Contains(a.NICs, q.Get("nic"))) &&
			(q.Get("ip") == "" || q.Get("ip") == a.IP) {
			page = append(page, a)
		}
	}
	slices.SortFunc(page, func(a, b Asset) int { return cmp.Compare(a.SerialNumber, b.SerialNumber) })
	reply(w, page[:min(limit, len(page))])
}

func (c *CMDB) get(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.assets[r.PathValue("serial")]
	if !ok {
		http.Error(w, "no such asset", http.StatusNotFound)
		return
	}
	reply(w, a)
}

func (c *CMDB) batch(w http.ResponseWriter, r *http.Request) {
	var batch []Asset
	if err := json.NewDecoder(r.Body).Decode(&batch); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	owners := map[string]string{}
	for _, a := range c.assets {
		for _, key := range append(slices.Clone(a.NICs), a.IP) {
			owners[key] = a.SerialNumber
		}
	}
	for _, a := range batch {
		if a.Revision != c.assets[a.SerialNumber].Revision {
			http.Error(w, a.SerialNumber+" has changed meanwhile", http.StatusConflict)
			return
		}
		for _, key := range append(slices.Clone(a.NICs), a.IP) {
			if owner := owners[key]; key != "" && owner != "" && owner != a.SerialNumber {
				http.Error(w, key+" belongs to "+owner, http.StatusConflict)
				return
			}
		}
	}
	for _, a := range batch {
		a.Revision++
		c.assets[a.SerialNumber] = a
	}
	w.WriteHeader(http.StatusNoContent)
}

func (c *CMDB) remove(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.assets[r.PathValue("serial")]; !ok {
		http.Error(w, "no such asset", http.StatusNotFound)
		return
	}
	delete(c.assets, r.PathValue("serial"))
	w.WriteHeader(http.StatusNoContent)
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // an error means that the client is gone
}
