package site

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/depot"
	"github.com/project-loda/loda/pxe"
)

// metrics are bounded in cardinality: no label ever holds what a machine or a person said.
type metrics struct {
	registry  *prometheus.Registry
	store     inventory.InstallationStore
	dropped   *prometheus.Desc
	states    *prometheus.Desc
	timeline  *timeline
	exchanges *prometheus.CounterVec
	answers   prometheus.Histogram
	exhausted *prometheus.CounterVec
	rogues    prometheus.Counter
	bytes     *prometheus.CounterVec
	transfers *prometheus.CounterVec
	boots     *prometheus.CounterVec
	fetches   *prometheus.CounterVec
	fetched   prometheus.Counter
}

func newMetrics(site string, store inventory.InstallationStore, t *timeline) *metrics {
	labels := prometheus.Labels{"site": site}
	m := &metrics{registry: prometheus.NewRegistry(), store: store, timeline: t,
		dropped: prometheus.NewDesc("loda_timeline_dropped_total", "Timeline events that were lost because the inventory was slow or away.", nil, labels),
		states:  prometheus.NewDesc("loda_installations_open", "Open installations by state.", []string{"state"}, labels),
		exchanges: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "loda_dhcp_exchanges_total", ConstLabels: labels,
			Help: "DHCP requests by type and answer."}, []string{"asked", "answered"}),
		answers: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "loda_dhcp_answer_seconds", ConstLabels: labels,
			Help: "From receiving a DHCP request to having sent its answer.", Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9)}),
		exhausted: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "loda_dhcp_exhausted_total", ConstLabels: labels,
			Help: "DHCP requests without an answer, as there is no address left in the subnet."}, []string{"subnet"}),
		rogues: prometheus.NewCounter(prometheus.CounterOpts{Name: "loda_dhcp_rogues_total", ConstLabels: labels,
			Help: "Reports of DHCP and ProxyDHCP servers that are not ours."}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "loda_sent_bytes_total", ConstLabels: labels,
			Help: "Bytes of files sent to machines by protocol."}, []string{"protocol"}),
		transfers: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "loda_transfers_total", ConstLabels: labels,
			Help: "Finished transfers by protocol and outcome."}, []string{"protocol", "outcome"}),
		boots: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "loda_boot_decisions_total", ConstLabels: labels,
			Help: "What netbooting machines were told to boot."}, []string{"boot"}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "loda_downloads_total", ConstLabels: labels,
			Help: "RAID tools and drivers that the site fetched for its machines, by outcome."}, []string{"outcome"}),
		fetched: prometheus.NewCounter(prometheus.CounterOpts{Name: "loda_downloaded_bytes_total", ConstLabels: labels,
			Help: "Bytes of RAID tools and drivers that the site fetched."}),
	}
	m.registry.MustRegister(m, m.exchanges, m.answers, m.exhausted, m.rogues, m.bytes, m.transfers, m.boots, m.fetches, m.fetched, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Describe implements [prometheus.Collector].
func (m *metrics) Describe(ch chan<- *prometheus.Desc) { ch <- m.dropped; ch <- m.states }

// Collect implements [prometheus.Collector].
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(m.dropped, prometheus.CounterValue, float64(m.timeline.dropped.Load()))
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	count := map[inventory.State]int{}
	f := inventory.InstallationFilter{OpenOnly: true, Limit: 1000}
	for {
		page, err := m.store.Installations(ctx, f)
		if err != nil {
			ch <- prometheus.NewInvalidMetric(m.states, err)
			return
		}
		for _, inst := range page {
			count[inst.State]++
		}
		if len(page) < f.Limit {
			break
		}
		f.After = page[len(page)-1].ID
	}
	for _, s := range inventory.States {
		if s.Open() {
			ch <- prometheus.MustNewConstMetric(m.states, prometheus.GaugeValue, float64(count[s]), string(s))
		}
	}
}

func (m *metrics) exchange(x dhcp.Exchange) {
	answered := "nothing"
	if x.Answered != dhcpv4.MessageTypeNone {
		answered = x.Answered.String()
		m.answers.Observe(x.Duration.Seconds())
	}
	asked := "other"
	if x.Asked >= dhcpv4.MessageTypeDiscover && x.Asked <= dhcpv4.MessageTypeInform {
		asked = x.Asked.String()
	}
	m.exchanges.WithLabelValues(asked, answered).Inc()
}

func (m *metrics) fetch(f depot.Fetch) {
	outcome := "complete"
	if f.Err != nil {
		outcome = "failed"
	}
	m.fetches.WithLabelValues(outcome).Inc()
	m.fetched.Add(float64(f.Bytes))
}

func (m *metrics) transfer(t pxe.Transfer) {
	outcome := "complete"
	switch {
	case t.Err != nil:
		outcome = "failed"
	case t.Aborted:
		outcome = "aborted"
	}
	m.bytes.WithLabelValues(t.Protocol).Add(float64(t.Bytes))
	m.transfers.WithLabelValues(t.Protocol, outcome).Inc()
}
