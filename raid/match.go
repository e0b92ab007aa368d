package raid

// demand is a number of things that must be found, and which of them would do.
type demand struct {
	need int
	fits []bool // by thing
}

// match gives things to demands, none twice, so that every demand gets what it needs; false if that cannot be. Things
// are in the order in which they are preferred.
//
// Of all ways in which everybody is served, it takes the one that uses the most preferred things, and among those the
// one in which the first demand has the most preferred, then the second. Both follow from augmenting paths: the sets of
// things that can be used at the same time are a matroid, in which taking the best that still fits is the optimum; and
// a thing is fixed only where the rest can still be served around it. Without a solution, what is returned serves as
// many as can be, for the message.
func match(things int, demands []demand) (owner []int, ok bool) {
	m, ok := serve(things, demands)
	if ok {
		m.refine()
	}
	return m.owner, ok
}

// serve finds the best things that serve everybody, and reports whether there are; who gets which is not decided yet.
func serve(things int, demands []demand) (*matching, bool) {
	m := &matching{demands: demands, owner: make([]int, things), holds: make([][]int, len(demands)),
		fixed: make([]bool, things)}
	wanted, found := 0, 0
	for _, d := range demands {
		wanted += d.need
	}
	for t := range things {
		m.owner[t] = -1
	}
	for t := range things {
		if found < wanted && m.place(t, make([]bool, len(demands))) {
			found++
		}
	}
	return m, found == wanted
}

// refine gives the first demand the best of what is used, then the second.
func (m *matching) refine() {
	for g, d := range m.demands {
		for t, n := 0, 0; t < len(m.owner) && n < d.need; t++ {
			if m.owner[t] >= 0 && d.fits[t] && !m.fixed[t] && m.move(t, g) {
				m.fixed[t] = true
				n++
			}
		}
	}
}

type matching struct {
	demands []demand
	owner   []int   // demand of each thing, -1: none
	holds   [][]int // things of each demand
	fixed   []bool
}

// place finds room for a thing, and moves others for it where that helps.
func (m *matching) place(t int, seen []bool) bool {
	for g, d := range m.demands {
		if !d.fits[t] || seen[g] || d.need == 0 {
			continue
		}
		seen[g] = true
		if len(m.holds[g]) < d.need {
			m.holds[g] = append(m.holds[g], t)
			m.owner[t] = g
			return true
		}
		for i, other := range m.holds[g] {
			if m.place(other, seen) {
				m.holds[g][i] = t
				m.owner[t] = g
				return true
			}
		}
	}
	return false
}

// move gives a thing that is used to demand g, and fills the gap that it leaves from g, on the shortest way.
func (m *matching) move(t, g int) bool {
	h := m.owner[t]
	if h == g {
		return true
	}
	from := make([]int, len(m.demands)) // demand from which the way reaches one
	by := make([]int, len(m.demands))   // thing that goes there
	for i := range from {
		from[i] = -1
	}
	from[g] = g
	for queue := []int{g}; len(queue) > 0 && from[h] < 0; queue = queue[1:] {
		at := queue[0]
		for _, other := range m.holds[at] {
			if m.fixed[other] || other == t {
				continue
			}
			for next, d := range m.demands {
				if from[next] < 0 && d.fits[other] && d.need > 0 {
					from[next], by[next] = at, other
					queue = append(queue, next)
				}
			}
		}
	}
	if from[h] < 0 {
		return false
	}
	m.take(t, h)
	for at := h; at != g; at = from[at] {
		m.take(by[at], from[at])
		m.give(by[at], at)
	}
	m.give(t, g)
	return true
}

func (m *matching) take(t, g int) {
	for i, other := range m.holds[g] {
		if other == t {
			m.holds[g] = append(m.holds[g][:i], m.holds[g][i+1:]...)
			return
		}
	}
}

func (m *matching) give(t, g int) {
	m.holds[g] = append(m.holds[g], t)
	m.owner[t] = g
}
