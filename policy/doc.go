// Package policy compiles the ordered rule list into an immutable Ruleset and
// answers what it says about a packet.
//
// Control calls Compile, publishes the *Ruleset by one atomic pointer store and
// lets the old one go when no worker can hold it any more. Workers only call
// Match, Empty and the getters: nothing in a Ruleset is written after Compile, so
// any number of them may share it. Hit counters belong to the workers; Match
// returns the index of the rule for them.
//
// The packet's path: the policy stage asks Empty once per burst, and, for a packet
// whose flow has no verdict of this Generation, fills a Key and calls Match with
// HookIn before the route lookup and with HookOut after it (FF-6). First match
// wins, and the hook's default decides for a packet that no rule matches.
//
// Match does not walk all the rules. Compile makes one list per hook, address
// family and protocol, in rule order, that holds only rules which can match such a
// packet, and cuts long ones by field into a tree (tree.go). What is left to look
// at is two parallel arrays: small heads with the ports, interfaces and states, of
// which two share a cache line, and details (addresses, lists with gaps) that are
// read only when the head matches. A rule with many addresses or ports has them
// as ascending ranges (sets.go), so that a blocklist of any length may be one rule.
//
// To add a match: a field in Rule and Key, its check in Rule.check, a bound in
// head if it fits and an exact test in detail.matches, and the same in the naive
// matcher of the property test. To add an action: a constant, and its arguments
// in Rule and Effect; then its case where the policy stage acts on decisions. One
// that is not Terminal lets the walk go on with MatchAfter.
package policy
