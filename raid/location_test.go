package raid_test

import (
	"slices"
	"testing"

	"github.com/project-loda/loda/raid"
	"github.com/stretchr/testify/require"
)

func TestSlotTenIsAfterSlotTwo(t *testing.T) {
	sorted := []string{"", "1I:1:2", "1I:1:10", "2I:1:1", "252:4", "252:04", "Enclosure 1, Slot 9", "Enclosure 1, Slot 11"}
	shuffled := []string{sorted[7], sorted[2], sorted[5], sorted[0], sorted[4], sorted[1], sorted[6], sorted[3]}
	slices.SortFunc(shuffled, raid.CompareLocations)
	require.Equal(t, sorted, shuffled)
}
