// Package mongo is MongoDB's replica sets in both of their election protocols.
package mongo
