(set-logic QF_NRA)
(declare-fun d_2 () Real)
(declare-fun d_1 () Real)
(declare-fun gamma () Real)
(declare-fun m () Real)
(assert
 (and (= 0.0 (* (- 1.0) d_1)) (= 0.0 (* (- 1.0) d_2))))
(assert
 (let (($x930 (or (< 0.0 (* gamma d_2)) (< 0.0 (* (- 1.0) gamma d_2)))))
 (let (($x677 (or (< 0.0 (* gamma d_1)) (< 0.0 (* (- 1.0) gamma d_1)))))
 (or (or $x677 $x930) false false))))
(assert
 (let ((?x934 (+ m (- 2.0))))
(<= 0.0 ?x934)))
(check-sat)
