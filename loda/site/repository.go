package site

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/project-loda/loda/loda/gitprofiles"
)

// keepEvery is how often the repository is told which commits installations have pinned. It keeps any commit for a day
// by itself (gitsource.Config.Grace), so this may be slow.
const keepEvery = 5 * time.Minute

// followRepository fetches, and keeps what is pinned, until ctx ends.
func (s *Site) followRepository(ctx context.Context) error {
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		tick := time.NewTicker(keepEvery)
		defer tick.Stop()
		for {
			if err := s.c.Repository.KeepPinned(ctx, s.c.Store); err != nil && ctx.Err() == nil {
				s.log.Error("keeping the commits that installations have pinned", "error", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	err := s.c.Repository.Source().Run(ctx)
	<-kept
	return err
}

// repositoryMetrics tell what became of the git repository of profiles.
type repositoryMetrics struct {
	profiles                                                            *gitprofiles.Profiles
	fetches, failures, refusals, received, refused, commitTime, success *prometheus.Desc
}

func newRepositoryMetrics(site string, p *gitprofiles.Profiles) *repositoryMetrics {
	labels := prometheus.Labels{"site": site}
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("loda_repository_"+name, help, nil, labels)
	}
	return &repositoryMetrics{profiles: p,
		fetches:    desc("fetches_total", "Fetches of the git repository of profiles."),
		failures:   desc("fetch_failures_total", "Fetches that failed."),
		refusals:   desc("refusals_total", "Commits that did not validate and were refused."),
		received:   desc("received_bytes_total", "Bytes of packs that were fetched."),
		refused:    desc("refused", "1 while the newest commit is refused and an older one in use."),
		commitTime: desc("commit_timestamp_seconds", "When the commit in use was made; 0: there is none."),
		success:    desc("last_success_timestamp_seconds", "When a fetch succeeded last; 0: never."),
	}
}

// Describe implements [prometheus.Collector].
func (m *repositoryMetrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements [prometheus.Collector].
func (m *repositoryMetrics) Collect(ch chan<- prometheus.Metric) {
	st := m.profiles.Source().Status()
	stamp := func(t time.Time) float64 {
		if t.IsZero() {
			return 0
		}
		return float64(t.Unix())
	}
	var refused, commit float64
	if st.Refused != nil {
		refused = 1
	}
	if st.Commit != nil {
		commit = stamp(st.Commit.Time)
	}
	for _, c := range []struct {
		desc  *prometheus.Desc
		kind  prometheus.ValueType
		value float64
	}{
		{m.fetches, prometheus.CounterValue, float64(st.Fetches)}, {m.failures, prometheus.CounterValue, float64(st.Failures)},
		{m.refusals, prometheus.CounterValue, float64(st.Refusals)}, {m.received, prometheus.CounterValue, float64(st.Received)},
		{m.refused, prometheus.GaugeValue, refused}, {m.commitTime, prometheus.GaugeValue, commit},
		{m.success, prometheus.GaugeValue, stamp(st.LastSuccess)},
	} {
		ch <- prometheus.MustNewConstMetric(c.desc, c.kind, c.value)
	}
}
