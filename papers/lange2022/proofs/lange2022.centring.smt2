(set-logic QF_NRA)
(declare-fun n2 () Real)
(declare-fun low () Real)
(declare-fun mu () Real)
(declare-fun sigma () Real)
(declare-fun q () Real)
(declare-fun m () Real)
(declare-fun high () Real)
(declare-fun b () Real)
(assert
 (let ((?x25 (* m q q sigma sigma)))
 (let (($x29 (<= 0.0 (+ ?x25 (* (- 1.0) mu mu low) (* (- 1.0) low n2)))))
 (let ((?x22 (* high n2)))
 (let ((?x18 (* (- 1.0) m q q sigma sigma)))
 (and (<= 0.0 (+ m (* (- 1.0) low))) (<= 0.0 (+ (* (- 1.0) m) high)) (<= 0.0 (+ ?x18 (* (- 1.0) m mu mu) ?x22)) $x29))))))
(assert
 (let ((?x37 (* m b b)))
 (let ((?x25 (* m q q sigma sigma)))
 (let (($x41 (< 0.0 (+ ?x25 ?x37 (* (- 1.0) high b b) (* (- 1.0) high n2)))))
 (let ((?x34 (* low n2)))
 (let ((?x33 (* low b b)))
 (let ((?x18 (* (- 1.0) m q q sigma sigma)))
 (or (< 0.0 (+ ?x18 (* (- 1.0) m b b) ?x33 ?x34)) $x41))))))))
(assert
 (<= 0.0 (+ (* (- 1.0) q) 1.0)))
(assert
 (< 0.0 m))
(assert
 (<= 0.0 q))
(assert
 (< 0.0 sigma))
(assert
 (<= 0.0 low))
(assert
 (< 0.0 high))
(assert
 (< 0.0 n2))
(assert
 (<= 0.0 (+ m (- 2.0))))
(check-sat)
