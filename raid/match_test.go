package raid

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// best tries everything: the most preferred set of things, then the most preferred for the first demand, and so on.
func best(things int, demands []demand) []int {
	var found []int
	var key []int
	owner := make([]int, things)
	var try func(t int, left []int)
	try = func(t int, left []int) {
		if t == things {
			if slices.ContainsFunc(left, func(n int) bool { return n > 0 }) {
				return
			}
			var k []int
			for i, g := range owner {
				if g >= 0 {
					k = append(k, i)
				}
			}
			for g := range demands {
				for i, o := range owner {
					if o == g {
						k = append(k, i)
					}
				}
			}
			if found == nil || slices.Compare(k, key) < 0 {
				found, key = slices.Clone(owner), k
			}
			return
		}
		owner[t] = -1
		try(t+1, left)
		for g := range demands {
			if left[g] > 0 && demands[g].fits[t] {
				owner[t] = g
				left[g]--
				try(t+1, left)
				left[g]++
			}
		}
		owner[t] = -1
	}
	left := make([]int, len(demands))
	for g, d := range demands {
		left[g] = d.need
	}
	try(0, left)
	return found
}

func TestAMatchIsTheBestThereIs(t *testing.T) {
	rnd := rand.New(rand.NewPCG(4, 2))
	solved := 0
	for range 3000 {
		things := 1 + rnd.IntN(7)
		demands := make([]demand, 1+rnd.IntN(4))
		for g := range demands {
			demands[g] = demand{rnd.IntN(3), make([]bool, things)}
			for i := range things {
				demands[g].fits[i] = rnd.IntN(5) < 2
			}
		}
		want := best(things, demands)
		got, ok := match(things, demands)
		require.Equal(t, want != nil, ok, "%+v", demands)
		if ok {
			solved++
			require.Equal(t, want, got, "%+v", demands)
		}
	}
	require.Greater(t, solved, 1000)
	require.Less(t, solved, 2900)
}
