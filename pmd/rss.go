package pmd

import (
	"bytes"

	"ffwd/bindings"
)

// rssConf says how the device is to spread packets over nRx queues: by addresses and
// ports under the symmetric key, as far as it can.
func rssConf(info bindings.DeviceInfo, nRx int) (types uint64, key []byte) {
	if nRx < 2 || info.RSSTypes == 0 {
		return 0, nil
	}
	keyBytes := info.RSSKeyBytes
	if keyBytes == 0 {
		keyBytes = 40
	}
	return info.RSSTypes & bindings.RSSIPTCPUDP, SymmetricKey(keyBytes)
}

// verifySymmetricRSS reports whether a started device really keeps both directions of
// a flow on one queue: key, packet types and redirection table are read back.
//
// A software device is not believed: net_null takes key, types and table and spreads
// nothing. Nor is one that did not take our key, whose own is not symmetric.
//
// Source: CT-1.
func (p *Port) verifySymmetricRSS(info bindings.DeviceInfo) bool {
	if info.Bus == "vdev" || len(p.rx) < 2 || info.RETASize == 0 || len(p.rssKey) == 0 {
		return false
	}
	key, types, err := p.id.RSS(len(p.rssKey))
	if err != nil {
		return false
	}
	if err := p.id.SpreadRETA(info.RETASize, len(p.rx)); err != nil {
		return false
	}
	table, err := p.id.RETA(info.RETASize)
	return err == nil && bytes.Equal(key, p.rssKey) && keepsFlows(types, table, len(p.rx))
}

// keepsFlows reports whether a device hashes what flows are made of, and its redirection
// table has the queues in turn.
func keepsFlows(types uint64, table []uint16, queues int) bool {
	for i, queue := range table {
		if int(queue) != i%queues {
			return false
		}
	}
	return types&bindings.RSSFlowTypes == bindings.RSSFlowTypes
}
